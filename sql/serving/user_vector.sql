-- A user's vector of the version that is asked.
SELECT embedding
FROM asked_users
WHERE user_id = $user_id
