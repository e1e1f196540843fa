-- Every item that a user has clicked, with its title, most recent click last.
SELECT item_id, any_value(items.title) AS title
FROM impressions
LEFT JOIN items USING (item_id)
WHERE clicked AND user_id = $user_id
GROUP BY item_id
ORDER BY max(shown_at), item_id
