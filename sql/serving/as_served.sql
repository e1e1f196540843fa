-- The index and the report that a version was last served with.
SELECT index_version, report_version
FROM champion_decisions
WHERE model_version = $version AND decision != 'refused'
ORDER BY rowid DESC
LIMIT 1
