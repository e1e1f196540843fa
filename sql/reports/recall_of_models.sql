-- The recall@20 of a version at γ = 1 and of the baselines, with their intervals, the version first.
SELECT model, value, low, high
FROM model_metrics
WHERE
    model_version = $version
    AND metric = 'recall'
    AND k = 20
    AND bucket = 'all'
    AND (popularity_weight = 1 OR popularity_weight IS NULL)
ORDER BY model = 'two_tower' DESC, model
