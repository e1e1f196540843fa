-- The versions that the model of a day is compared with: that of the newest earlier day with vectors, and the current
-- champion; `served` says whether the vectors are in `served_item_embeddings`.
WITH
current AS (SELECT any_value(model_version) AS version FROM item_embeddings WHERE day = $day),
earlier AS (
    SELECT model_version AS version, false AS served
    FROM item_embeddings
    WHERE day = (SELECT max(day) FROM item_embeddings WHERE day < $day)
    LIMIT 1
),
champion_vectors AS (SELECT any_value(model_version) AS version, true AS served FROM served_item_embeddings)
SELECT current.version AS model_version, other.version AS other_version, bool_and(other.served) AS served
FROM current
JOIN (FROM earlier UNION ALL FROM champion_vectors) AS other ON other.version <> current.version
GROUP BY ALL
ORDER BY other_version
