-- How far each item moved from one version to another, after the two spaces were turned onto each other. The table of
-- the same name holds every pair that was compared; a pair may be named in either order.
-- arguments: version_a, version_b: model versions.
-- gives: item_id, title, category, bucket, cosine of the item's two vectors after alignment, neighbours_kept, the share
--   of its nearest neighbours that are the same in both; those that moved most first.
-- errors: a null version, a pair that was not compared.
-- example: SELECT drift.* FROM (SELECT DISTINCT model_version, other_version FROM embedding_drift) AS pair,
--   embedding_drift(pair.model_version, pair.other_version) AS drift LIMIT 5
CREATE OR REPLACE MACRO lake.main.embedding_drift(version_a, version_b) AS TABLE
WITH
-- Arguments are put here once, under names that no column passed as an argument has.
given AS (SELECT version_a::VARCHAR AS _a, version_b::VARCHAR AS _b),
pairs AS (SELECT DISTINCT day, model_version, other_version FROM lake.main.embedding_drift),
found AS (
    SELECT
        given._a,
        given._b,
        (
            SELECT max_by({'later': pairs.model_version, 'other': pairs.other_version}, pairs.day)
            FROM pairs
            WHERE
                (pairs.model_version = given._a AND pairs.other_version = given._b)
                OR (pairs.model_version = given._b AND pairs.other_version = given._a)
        ) AS pair
    FROM given
),
asked AS (
    SELECT
        CASE
            WHEN found._a IS NULL OR found._b IS NULL
                THEN error('embedding_drift: expected two model versions, found null')
            WHEN found.pair IS NULL
                THEN error(
                    'embedding_drift: ' || found._a || ' and ' || found._b
                    || ' were not compared. The asset embedding_drift compares a day''s version with the newest earlier'
                    || ' one and with the champion; materialize it for the later day. Pairs there are: '
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
FROM asked
JOIN lake.main.embedding_drift AS moved
    ON moved.model_version = asked.pair.later
    AND moved.other_version = asked.pair.other
LEFT JOIN lake.main.items AS items ON items.item_id = moved.item_id
LEFT JOIN lake.main.item_frequency AS popularity
    ON popularity.item_id = moved.item_id
    AND popularity.day = moved.day
-- The last branch gives no row: it has the question judged where there is nothing to join it with.
UNION ALL BY NAME
SELECT NULL::VARCHAR AS item_id FROM asked WHERE asked.pair IS NULL
ORDER BY cosine, item_id
