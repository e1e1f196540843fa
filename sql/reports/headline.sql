-- The headline metrics of the champion at one γ, and of the baselines, in long form.
SELECT model, metric, k, bucket, value
FROM model_metrics
JOIN champion USING (model_version)
WHERE popularity_weight IS NULL OR popularity_weight = $popularity_weight
