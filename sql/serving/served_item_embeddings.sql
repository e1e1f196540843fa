SELECT * EXCLUDE (day)
FROM item_embeddings
WHERE day = $day AND model_version = $version
ORDER BY item_id
