-- The items whose served vectors are nearest to an item's, by cosine, best first; the item itself is left out.
-- arguments: item: id of an item that the champion knows; k: how many, at least 1.
-- gives: rank, item_id, title, category, bucket, cosine.
-- errors: an unknown or null item, a k that is no whole number from 1, nothing served yet.
-- example: FROM similar_items((SELECT min(item_id) FROM current_item_embeddings), 5)
CREATE OR REPLACE MACRO lake.main.similar_items(item, k) AS TABLE
WITH
-- Arguments are put here once, under names that no column passed as an argument has.
given AS (SELECT item::VARCHAR AS _wanted, k AS _length),
asked AS (
    SELECT
        CASE
            WHEN NOT EXISTS (FROM lake.main.champion)
                THEN error('similar_items: nothing is served yet; run training_job first')
            WHEN given._wanted IS NULL THEN error('similar_items: expected the id of an item, found null')
            WHEN NOT EXISTS (FROM lake.main.served_item_embeddings AS known WHERE known.item_id = given._wanted)
                THEN error(
                    'similar_items: the served model does not know the item ''' || given._wanted
                    || '''; those that it knows are in current_item_embeddings'
                )
            ELSE given._wanted
        END AS item_id,
        CASE
            WHEN given._length >= 1 AND given._length = given._length::BIGINT THEN given._length::BIGINT
            ELSE error(
                'similar_items: k must be a whole number from 1, found ' || coalesce(given._length::VARCHAR, 'null')
            )
        END AS places
    FROM given
),
compared AS (
    SELECT
        asked.places,
        other.item_id,
        list_cosine_similarity(this.embedding, other.embedding) AS cosine
    FROM asked
    JOIN lake.main.served_item_embeddings AS this ON this.item_id = asked.item_id
    JOIN lake.main.served_item_embeddings AS other ON other.item_id <> asked.item_id
),
nearest AS (
    SELECT item_id, cosine, row_number() OVER (ORDER BY cosine DESC, item_id) AS rank
    FROM compared
    QUALIFY row_number() OVER (ORDER BY cosine DESC, item_id) <= places
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
-- The last branch gives no row: it has the question judged where there is nothing to join it with.
UNION ALL BY NAME
SELECT NULL::BIGINT AS rank FROM asked WHERE asked.item_id IS NULL
ORDER BY rank
