SELECT embedding
FROM served_user_embeddings
WHERE user_id = $user_id
