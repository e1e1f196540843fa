-- How a model's training went, epoch by epoch.
SELECT epoch, loss, validation_metric, pairs_per_second
FROM training_curves
WHERE model_version = $version
ORDER BY epoch
