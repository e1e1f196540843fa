SELECT asset || '/' || version
FROM artifacts
ORDER BY created_at DESC
LIMIT 5
