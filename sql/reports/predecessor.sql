-- The version that a model is reported beside: the champion of the moment or, where that is the model itself, the one
-- that it replaced; null where there is none.
SELECT
    coalesce(
        (SELECT model_version FROM champion WHERE model_version != $version),
        (
            SELECT max_by(champion_before, decided_at)
            FROM champion_decisions
            WHERE
                model_version = $version
                AND decision IN ('promoted', 'promoted by hand')
                AND champion_before != $version
        )
    ) AS predecessor
