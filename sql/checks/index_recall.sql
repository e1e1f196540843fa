-- The recall of the index against exact search is high enough at γ = 0, ½ and 1.
WITH measured AS (
    -- DuckDB orders NaN above every number; here it counts as recall 0.
    SELECT * REPLACE (if(isfinite(recall_at_k), recall_at_k, 0) AS recall_at_k)
    FROM ann_index_quality
    WHERE day BETWEEN $first_day AND $last_day
)
SELECT
    coalesce(min(recall_at_k) >= $minimum_index_recall, false) AS passed,
    coalesce('lowest recall@' || any_value(k) || ': ' || min(recall_at_k), 'nothing measured') AS observed,
    'at least ' || $minimum_index_recall || ' at every popularity weight' AS expected,
    list(
        'γ = ' || popularity_weight || ': ' || recall_at_k ORDER BY popularity_weight
    ) FILTER (recall_at_k < $minimum_index_recall) AS sample
FROM measured
