-- The content hash with which a version of an artifact was recorded.
SELECT content_hash
FROM artifacts
WHERE asset = $asset AND version = $version
