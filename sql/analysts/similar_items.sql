-- The items whose served vectors are nearest to an item's, by cosine, best first, without the item itself.
-- arguments: item: id of an item that the champion knows; k: length of the list, at least 1.
-- gives: rank, item_id, title, category, bucket, cosine.
-- errors: an unknown or null item, a k that is not a whole number of at least 1, nothing served yet.
-- example: FROM similar_items((SELECT min(item_id) FROM current_item_embeddings), 5)
CREATE OR REPLACE MACRO lake.main.similar_items(item, k) AS TABLE
WITH
-- Arguments are renamed once, so that they cannot clash with a column of the same name passed by the caller.
arguments AS (SELECT item::VARCHAR AS _item, k AS _k),
validated AS (
    SELECT
        CASE
            WHEN NOT EXISTS (FROM lake.main.champion)
                THEN error('similar_items: nothing is served yet; run training_job first')
            WHEN arguments._item IS NULL THEN error('similar_items: expected the id of an item, found null')
            WHEN NOT EXISTS (FROM lake.main.served_item_embeddings AS served WHERE served.item_id = arguments._item)
                THEN error(
                    'similar_items: the served model does not know the item ''' || arguments._item
                    || '''; the items that it knows are in current_item_embeddings'
                )
            ELSE arguments._item
        END AS item_id,
        CASE
            WHEN arguments._k >= 1 AND arguments._k = arguments._k::BIGINT THEN arguments._k::BIGINT
            ELSE error(
                'similar_items: k must be a whole number of at least 1, found '
                || coalesce(arguments._k::VARCHAR, 'null')
            )
        END AS list_length
    FROM arguments
),
compared AS (
    SELECT
        validated.list_length,
        candidate.item_id,
        list_cosine_similarity(query_item.embedding, candidate.embedding) AS cosine
    FROM validated
    JOIN lake.main.served_item_embeddings AS query_item ON query_item.item_id = validated.item_id
    JOIN lake.main.served_item_embeddings AS candidate ON candidate.item_id <> validated.item_id
),
nearest AS (
    SELECT item_id, cosine, row_number() OVER (ORDER BY cosine DESC, item_id) AS rank
    FROM compared
    QUALIFY row_number() OVER (ORDER BY cosine DESC, item_id) <= list_length
)
SELECT
    nearest.rank,
    nearest.item_id,
    items.title,
    coalesce(items.category, 'unknown') AS category,
    coalesce(popularity.bucket, 'cold') AS bucket,
    nearest.cosine
FROM nearest
LEFT JOIN lake.main.items AS items ON items.item_id = nearest.item_id
LEFT JOIN lake.main.item_frequency AS popularity
    ON popularity.item_id = nearest.item_id
    AND popularity.day = (SELECT model_day FROM lake.main.champion)
-- The last branch returns no row. It makes DuckDB check the arguments where the join is empty.
UNION ALL BY NAME
SELECT NULL::BIGINT AS rank FROM validated WHERE validated.item_id IS NULL
ORDER BY rank
