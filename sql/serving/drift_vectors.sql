-- The vectors of the items that two versions both know: those of a day's model, and of another, which is a day's too or
-- what is served.
SELECT fresh.item_id, fresh.embedding AS embedding, other.embedding AS other_embedding
FROM (SELECT item_id, embedding FROM item_embeddings WHERE day = $day AND model_version = $version) AS fresh
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
