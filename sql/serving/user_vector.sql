-- A user's vector in the queried version.
SELECT embedding
FROM version_users
WHERE user_id = $user_id
