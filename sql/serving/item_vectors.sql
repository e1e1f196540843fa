-- Vectors of some items, of the version that is asked, in the order of the list; without those that it does not know.
SELECT item_id, embedding
FROM (SELECT unnest($item_ids) AS item_id, generate_subscripts($item_ids, 1) AS place) AS wanted
JOIN asked_items USING (item_id)
ORDER BY place
