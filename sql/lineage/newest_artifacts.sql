SELECT asset || '/' || version
FROM artifacts
ORDER BY rowid DESC
LIMIT 5
