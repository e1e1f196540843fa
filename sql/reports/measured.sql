-- The headline metrics at γ = 1 of the staged report, in one row.
SELECT
    any_value(value) FILTER (model = 'two_tower' AND metric = 'recall' AND k = 20 AND bucket = 'all') AS recall_at_20,
    any_value(value) FILTER (model = 'two_tower' AND metric = 'recall' AND k = 100 AND bucket = 'all') AS recall_at_100,
    any_value(value) FILTER (model = 'two_tower' AND metric = 'ndcg' AND k = 20 AND bucket = 'all') AS ndcg_at_20,
    any_value(value) FILTER (model = 'two_tower' AND metric = 'recall' AND k = 20 AND bucket = 'beyond_head')
        AS beyond_head_at_20,
    any_value(value) FILTER (model = 'two_tower' AND metric = 'coverage' AND k = 20) AS coverage_at_20,
    any_value(value) FILTER (model = 'two_tower' AND metric = 'gini' AND k = 20) AS gini_at_20,
    any_value(value) FILTER (model = 'most_popular' AND metric = 'recall' AND k = 20 AND bucket = 'all')
        AS popular_recall_at_20,
    (SELECT any_value(delta) FROM staged_popularity_diagnostics WHERE popularity_weight = 1) AS delta
FROM staged_model_metrics
WHERE popularity_weight = 1 OR popularity_weight IS NULL
