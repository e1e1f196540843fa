-- The version that a model's report compares it with: the current champion, or, if the model is the champion, the
-- version that it replaced. Null if there is none.
SELECT
    coalesce(
        (SELECT model_version FROM champion WHERE model_version != $version),
        (
            SELECT max_by(champion_before, champion_decisions.rowid)
            FROM champion_decisions
            WHERE
                model_version = $version
                AND decision IN ('promoted', 'promoted by hand')
                AND champion_before != $version
        )
    ) AS predecessor
