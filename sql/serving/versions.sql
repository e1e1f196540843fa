-- Every version of the model with its newest index and report, null where it has none. The newest day comes first, and
-- within it the last commit, whatever clocks say.
WITH made_from AS (
    SELECT
        asset,
        unnest(upstream ->> '$.artifacts[*].version') AS model_version,
        version,
        rowid AS commit_order
    FROM artifacts
    WHERE asset IN ('ann_index', 'popularity_bias_report')
)
SELECT
    model.model_day,
    model.version AS model_version,
    (
        SELECT max_by(version, commit_order)
        FROM made_from
        WHERE asset = 'ann_index' AND made_from.model_version = model.version
    ) AS index_version,
    (
        SELECT max_by(version, commit_order)
        FROM made_from
        WHERE asset = 'popularity_bias_report' AND made_from.model_version = model.version
    ) AS report_version
FROM artifacts AS model
WHERE model.asset = 'tower_checkpoint'
ORDER BY model.model_day DESC, model.rowid DESC
