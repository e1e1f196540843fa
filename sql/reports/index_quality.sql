-- Measured recall and speed of a model's index; no row if the day's index belongs to another model.
SELECT popularity_weight, recall_at_k, k, queries_per_second
FROM ann_index_quality
WHERE model_version = $version
ORDER BY popularity_weight
