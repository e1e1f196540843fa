-- Every item that can be recommended: the catalogue, and items clicked in the window that are not in it.
SELECT item_id, category, categories, title, features, TRUE AS listed
FROM items
UNION ALL
SELECT DISTINCT item_id, 'unknown', NULL, NULL, NULL, FALSE
FROM training_pairs
WHERE
    day BETWEEN $as_of - ($window_days - 1) AND $as_of
    AND item_id NOT IN (SELECT item_id FROM items)
ORDER BY item_id
