-- Vectors of the given items in the queried version, in their order, without unknown items.
SELECT item_id, embedding
FROM (SELECT unnest($item_ids) AS item_id, generate_subscripts($item_ids, 1) AS position) AS given
JOIN version_items USING (item_id)
ORDER BY position
