-- Whether a version was ever the champion.
SELECT count(*) > 0
FROM champion_decisions
WHERE
    champion_before = $version
    OR (model_version = $version AND decision IN ('promoted', 'promoted by hand'))
