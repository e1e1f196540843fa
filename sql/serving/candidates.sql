-- Days whose model could be served, newest first, each with its versions; all parts must be of one model.
SELECT
    index_rows.day,
    index_rows.model_version,
    index_rows.index_version,
    (
        SELECT max_by(version, (created_at, version))
        FROM artifacts
        WHERE
            asset = 'popularity_bias_report'
            AND list_contains(upstream ->> '$.artifacts[*].version', index_rows.model_version)
    ) AS report_version
FROM (SELECT DISTINCT day, model_version, index_version FROM ann_index_quality) AS index_rows
WHERE
    EXISTS (FROM item_embeddings AS v WHERE v.day = index_rows.day AND v.model_version = index_rows.model_version)
    AND EXISTS (FROM user_embeddings AS v WHERE v.day = index_rows.day AND v.model_version = index_rows.model_version)
    AND EXISTS (FROM model_metrics AS v WHERE v.day = index_rows.day AND v.model_version = index_rows.model_version)
ORDER BY index_rows.day DESC
