SELECT DISTINCT item_id
FROM impressions
WHERE clicked AND user_id = $user_id
