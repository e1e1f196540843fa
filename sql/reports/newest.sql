-- The newest report, optionally of one version (of the report or of its model) and of one model day.
SELECT version
FROM artifacts
WHERE
    asset = 'popularity_bias_report'
    AND ($version::VARCHAR IS NULL OR $version IN (version, upstream ->> '$.artifacts[0].version'))
    AND ($day::DATE IS NULL OR model_day = $day)
ORDER BY rowid DESC
LIMIT 1
