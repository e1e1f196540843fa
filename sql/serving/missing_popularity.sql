-- δ of a version at a γ, if it was measured.
SELECT delta, delta_low, delta_high
FROM popularity_diagnostics
WHERE
    model_version = $version
    AND popularity_weight = $popularity_weight
    AND delta IS NOT NULL
    AND delta_low IS NOT NULL
