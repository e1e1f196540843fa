-- The version that was served before a version became the champion.
SELECT champion_before
FROM champion_decisions
WHERE model_version = $version AND decision IN ('promoted', 'promoted by hand')
ORDER BY rowid DESC
LIMIT 1
