-- Title, category and popularity bucket (as of the day of the version that is asked) of some items, in the order of the list.
SELECT
    wanted.item_id,
    items.title,
    coalesce(items.category, 'unknown') AS category,
    coalesce(popularity.bucket, 'cold') AS bucket
FROM (SELECT unnest($item_ids) AS item_id, generate_subscripts($item_ids, 1) AS place) AS wanted
LEFT JOIN items USING (item_id)
LEFT JOIN item_frequency AS popularity
    ON popularity.item_id = wanted.item_id
    AND popularity.day = $model_day
ORDER BY place
