SELECT day, user_id, item_id, shown_at, clicked, request_id, context, position, weight
FROM checked_impressions
WHERE reason IS NULL
ORDER BY day, shown_at, user_id, item_id
