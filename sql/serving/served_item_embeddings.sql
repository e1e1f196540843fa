SELECT * EXCLUDE (day)
FROM item_embeddings
WHERE day = $day
ORDER BY item_id
