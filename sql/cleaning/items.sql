SELECT item_id, category, categories, title, published_at, features
FROM checked_items
WHERE reason IS NULL
ORDER BY item_id
