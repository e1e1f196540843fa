-- Every vector is finite, of length 1, and of the same dimension.
WITH
measured AS (
    SELECT item_id, len(embedding) AS dimensions, sqrt(list_inner_product(embedding, embedding)) AS norm
    FROM item_embeddings
    WHERE day BETWEEN $first_day AND $last_day
),
wrong AS (
    FROM measured
    WHERE
        NOT coalesce(isfinite(norm) AND abs(norm - 1) <= 1e-3, false)
        OR dimensions != (SELECT mode(dimensions) FROM measured)
)
SELECT
    count(*) = 0 AS passed,
    count(*) || ' unsound vectors of ' || (SELECT count(*) FROM measured) AS observed,
    'every vector finite, of length 1 within 0.001, all of one dimension' AS wanted,
    list('item ' || item_id || ': norm ' || coalesce(norm::VARCHAR, 'null') ORDER BY item_id)[:5] AS sample
FROM wrong
