SELECT user_id, features
FROM checked_users
WHERE reason IS NULL
ORDER BY user_id
