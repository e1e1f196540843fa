SELECT * EXCLUDE (day)
FROM user_embeddings
WHERE day = $day
ORDER BY user_id
