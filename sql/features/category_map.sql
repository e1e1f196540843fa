SELECT
    item_id,
    category,
    dense_rank() OVER (ORDER BY category) - 1 AS category_index,
    count(*) OVER (PARTITION BY category) AS category_items,
    coalesce(categories, [category]) AS path,
    len(path) AS depth
FROM items
ORDER BY item_id
