SELECT * EXCLUDE (day)
FROM user_embeddings
WHERE day = $day AND model_version = $version
ORDER BY user_id
