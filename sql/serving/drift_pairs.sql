-- The versions that the model of a day is compared with, each with where its vectors lie: the newest earlier day that has
-- vectors, and the champion of the moment.
WITH
fresh AS (SELECT any_value(model_version) AS version FROM item_embeddings WHERE day = $day),
earlier AS (
    SELECT model_version AS version, false AS served
    FROM item_embeddings
    WHERE day = (SELECT max(day) FROM item_embeddings WHERE day < $day)
    LIMIT 1
),
champion_vectors AS (SELECT any_value(model_version) AS version, true AS served FROM served_item_embeddings)
SELECT fresh.version AS model_version, other.version AS other_version, bool_and(other.served) AS served
FROM fresh
JOIN (FROM earlier UNION ALL FROM champion_vectors) AS other ON other.version <> fresh.version
GROUP BY ALL
ORDER BY other_version
