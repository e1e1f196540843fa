-- At the served γ, recall@20 on the hold-out is above that of the baseline most popular.
WITH recalls AS (
    SELECT
        day,
        max(value) FILTER (model = 'two_tower' AND popularity_weight = $popularity_weight) AS model_recall,
        max(value) FILTER (model = 'most_popular') AS popular_recall
    FROM model_metrics
    WHERE metric = 'recall' AND k = 20 AND bucket = 'all' AND day BETWEEN $first_day AND $last_day
    GROUP BY day
),
evaluated AS (
    -- DuckDB orders NaN above every number; here it fails the check.
    SELECT *, coalesce(model_recall > popular_recall AND isfinite(model_recall), false) AS beats
    FROM recalls
)
SELECT
    coalesce(bool_and(beats), false) AS passed,
    coalesce('recall@20 of ' || round(min(model_recall), 4), 'nothing measured at the served γ') AS observed,
    'above that of most popular' || coalesce(', ' || round(min(popular_recall), 4), '') AS expected,
    list(
        day::VARCHAR || ': ' || coalesce(round(model_recall, 4)::VARCHAR, 'not measured')
        || ' against ' || coalesce(round(popular_recall, 4)::VARCHAR, 'not measured')
        ORDER BY day
    ) FILTER (NOT beats) AS sample
FROM evaluated
