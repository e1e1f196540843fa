-- The training curves of a model, one row per epoch.
SELECT epoch, loss, validation_metric, pairs_per_second
FROM training_curves
WHERE model_version = $version
ORDER BY epoch
