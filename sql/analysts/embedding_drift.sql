-- How far each item moved between two versions, after the two embedding spaces were aligned by a rotation. The table of
-- the same name holds every pair that was compared.
-- arguments: version_a, version_b: model versions, in either order.
-- gives: item_id, title, category, bucket, cosine of the item's two vectors after alignment, neighbours_kept, the share
--   of its nearest neighbours that are the same in both; the items that moved most first.
-- errors: a null version, a pair that was not compared.
-- example: SELECT drift.* FROM (SELECT DISTINCT model_version, other_version FROM embedding_drift) AS pair,
--   embedding_drift(pair.model_version, pair.other_version) AS drift LIMIT 5
CREATE OR REPLACE MACRO lake.main.embedding_drift(version_a, version_b) AS TABLE
WITH
-- Arguments are renamed once, so that they cannot clash with a column of the same name passed by the caller.
arguments AS (SELECT version_a::VARCHAR AS _a, version_b::VARCHAR AS _b),
pairs AS (SELECT DISTINCT day, model_version, other_version FROM lake.main.embedding_drift),
found AS (
    SELECT
        arguments._a,
        arguments._b,
        (
            SELECT max_by({'later': pairs.model_version, 'other': pairs.other_version}, pairs.day)
            FROM pairs
            WHERE
                (pairs.model_version = arguments._a AND pairs.other_version = arguments._b)
                OR (pairs.model_version = arguments._b AND pairs.other_version = arguments._a)
        ) AS pair
    FROM arguments
),
validated AS (
    SELECT
        CASE
            WHEN found._a IS NULL OR found._b IS NULL
                THEN error('embedding_drift: expected two model versions, found null')
            WHEN found.pair IS NULL
                THEN error(
                    'embedding_drift: ' || found._a || ' and ' || found._b
                    || ' were not compared. The asset embedding_drift compares a day''s version with the newest earlier'
                    || ' one and with the champion; materialize it for the later day. Compared pairs: '
                    || coalesce(
                        (SELECT string_agg(model_version || ' and ' || other_version, ', ') FROM pairs), 'none yet'
                    )
                )
            ELSE found.pair
        END AS pair
    FROM found
)
SELECT
    moved.item_id,
    items.title,
    coalesce(items.category, 'unknown') AS category,
    coalesce(popularity.bucket, 'cold') AS bucket,
    moved.cosine,
    moved.neighbours_kept
FROM validated
JOIN lake.main.embedding_drift AS moved
    ON moved.model_version = validated.pair.later
    AND moved.other_version = validated.pair.other
LEFT JOIN lake.main.items AS items ON items.item_id = moved.item_id
LEFT JOIN lake.main.item_frequency AS popularity
    ON popularity.item_id = moved.item_id
    AND popularity.day = moved.day
-- The last branch returns no row. It makes DuckDB check the arguments where the join is empty.
UNION ALL BY NAME
SELECT NULL::VARCHAR AS item_id FROM validated WHERE validated.pair IS NULL
ORDER BY cosine, item_id
