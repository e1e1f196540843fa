-- At the served γ, recall@20 on the hold-out is above that of recommending the most popular items to everyone.
WITH recalls AS (
    SELECT
        day,
        max(value) FILTER (model = 'two_tower' AND popularity_weight = $popularity_weight) AS model_recall,
        max(value) FILTER (model = 'most_popular') AS popular_recall
    FROM model_metrics
    WHERE metric = 'recall' AND k = 20 AND bucket = 'all' AND day BETWEEN $first_day AND $last_day
    GROUP BY day
)
SELECT
    coalesce(bool_and(coalesce(model_recall > popular_recall, false)), false) AS passed,
    'recall@20 of ' || min(model_recall)::DECIMAL(6, 4) AS observed,
    'above that of most popular, ' || min(popular_recall)::DECIMAL(6, 4) AS wanted,
    list(day::VARCHAR || ': ' || model_recall::DECIMAL(6, 4) || ' against ' || popular_recall::DECIMAL(6, 4))
        FILTER (NOT coalesce(model_recall > popular_recall, false)) AS sample
FROM recalls
