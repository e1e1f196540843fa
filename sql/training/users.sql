SELECT user_id, features
FROM users
ORDER BY user_id
