-- The index finds enough of what exact search finds, at the weights that serve γ = 0, ½ and 1.
WITH measured AS (
    FROM ann_index_quality
    WHERE day BETWEEN $first_day AND $last_day
)
SELECT
    coalesce(min(recall_at_k) >= $minimum_index_recall, false) AS passed,
    'lowest recall@' || any_value(k) || ': ' || min(recall_at_k) AS observed,
    'at least ' || $minimum_index_recall || ' at every popularity weight' AS wanted,
    list(
        'γ = ' || popularity_weight || ': ' || recall_at_k ORDER BY popularity_weight
    ) FILTER (recall_at_k < $minimum_index_recall) AS sample
FROM measured
