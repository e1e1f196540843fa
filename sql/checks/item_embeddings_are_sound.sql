-- Every vector is finite, has norm 1 and the usual dimension; the other terms of a score are finite.
WITH
measured AS (
    SELECT
        item_id,
        inverse_temperature,
        bias,
        log_q,
        len(embedding) AS dimensions,
        mode(len(embedding)) OVER (PARTITION BY model_version) AS usual_dimensions,
        sqrt(list_inner_product(embedding, embedding)) AS norm
    FROM item_embeddings
    WHERE day BETWEEN $first_day AND $last_day
),
wrong AS (
    FROM measured
    WHERE
        NOT coalesce(isfinite(norm) AND abs(norm - 1) <= 1e-3, false)
        OR NOT (isfinite(inverse_temperature) AND isfinite(bias) AND isfinite(log_q))
        OR dimensions != usual_dimensions
)
SELECT
    count(*) = 0 AS passed,
    count(*) || ' unsound vectors of ' || (SELECT count(*) FROM measured) AS observed,
    'every number finite, every vector of norm 1 within 0.001 and of the same dimension' AS expected,
    list(
        'item ' || item_id || ': ' || dimensions || ' dimensions, norm ' || coalesce(norm::VARCHAR, 'null')
        || ', inverse_temperature ' || inverse_temperature || ', bias ' || bias || ', log_q ' || log_q
        ORDER BY item_id
    )[:5] AS sample
FROM wrong
