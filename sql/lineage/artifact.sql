-- The artifact named `asset`, `version` or `asset/version`; the newest if several match.
SELECT asset, version
FROM artifacts
WHERE $name IN (asset, version, asset || '/' || version)
ORDER BY rowid DESC
LIMIT 1
