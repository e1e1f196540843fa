-- Both vectors of every item that two versions share: the first version is a day's model, the second another day's model
-- or the champion.
SELECT current.item_id, current.embedding AS embedding, other.embedding AS other_embedding
FROM (SELECT item_id, embedding FROM item_embeddings WHERE day = $day AND model_version = $version) AS current
JOIN (
    SELECT item_id, embedding
    FROM item_embeddings
    WHERE NOT $served AND model_version = $other
    UNION ALL
    SELECT item_id, embedding
    FROM served_item_embeddings
    WHERE $served AND model_version = $other
) AS other USING (item_id)
ORDER BY item_id
