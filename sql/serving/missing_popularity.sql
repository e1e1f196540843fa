-- δ of the served model at a γ, where it was measured.
SELECT delta, delta_low, delta_high
FROM popularity_diagnostics
WHERE
    model_version = (SELECT model_version FROM champion)
    AND popularity_weight = $popularity_weight
    AND delta IS NOT NULL
    AND delta_low IS NOT NULL
