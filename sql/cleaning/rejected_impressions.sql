SELECT
    day,
    reason,
    user_id_found AS user_id,
    item_id_found AS item_id,
    shown_at_found AS shown_at,
    clicked_found AS clicked
FROM checked_impressions
WHERE reason IS NOT NULL
ORDER BY day, reason, shown_at, user_id, item_id
