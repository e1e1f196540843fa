-- Whether a version was the champion at some time.
SELECT count(*) > 0
FROM champion_decisions
WHERE
    champion_before = $version
    OR (model_version = $version AND decision IN ('promoted', 'promoted by hand'))
