-- Title, category and popularity bucket (as of the day of the queried version) of the given items, in their order.
SELECT
    given.item_id,
    items.title,
    coalesce(items.category, 'unknown') AS category,
    coalesce(popularity.bucket, 'cold') AS bucket
FROM (SELECT unnest($item_ids) AS item_id, generate_subscripts($item_ids, 1) AS position) AS given
LEFT JOIN items USING (item_id)
LEFT JOIN item_frequency AS popularity
    ON popularity.item_id = given.item_id
    AND popularity.day = $model_day
ORDER BY position
