-- Versions that may be promoted automatically, newest first: vectors, index and report of the day come from one model,
-- which is not older than the champion and was never the champion. The champion's model is included if its index was
-- rebuilt.
WITH
complete AS (
    SELECT
        index_rows.day,
        index_rows.model_version,
        index_rows.index_version,
        (
            SELECT max_by(version, artifacts.rowid)
            FROM artifacts
            WHERE
                asset = 'popularity_bias_report'
                AND list_contains(upstream ->> '$.artifacts[*].version', index_rows.model_version)
        ) AS report_version
    FROM (SELECT DISTINCT day, model_version, index_version FROM ann_index_quality) AS index_rows
    WHERE
        EXISTS (FROM item_embeddings AS v WHERE v.day = index_rows.day AND v.model_version = index_rows.model_version)
        AND EXISTS (
            FROM user_embeddings AS v WHERE v.day = index_rows.day AND v.model_version = index_rows.model_version
        )
        AND EXISTS (FROM model_metrics AS v WHERE v.day = index_rows.day AND v.model_version = index_rows.model_version)
),
served_before AS (
    SELECT model_version FROM champion_decisions WHERE decision != 'refused'
    UNION
    SELECT champion_before FROM champion_decisions WHERE champion_before IS NOT NULL
)
SELECT complete.*
FROM complete
LEFT JOIN champion ON true
WHERE
    champion.model_version IS NULL
    OR (complete.model_version = champion.model_version AND complete.index_version != champion.index_version)
    OR (
        complete.model_version != champion.model_version
        AND complete.day >= champion.model_day
        AND complete.model_version NOT IN (FROM served_before)
    )
ORDER BY complete.day DESC
