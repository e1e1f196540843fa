-- The best items for any vector in the space of the champion, best first: a mix of users, a user without some clicks,
-- an item taken as a wish. Nothing is left out.
-- arguments: vector: as many numbers as served vectors have, used as it is (users' vectors have length 1, and a longer
--   one weighs affinity more); k: how many, at least 1; popularity_weight: γ, from 0 to 1.
-- gives: rank, item_id, title, category, bucket, score.
-- errors: a vector that is null, of another length or with a number that is not finite, a k that is no whole number
--   from 1, a γ outside 0 to 1, nothing served yet.
-- example: FROM recommend_for_vector((SELECT embedding FROM current_user_embeddings ORDER BY user_id LIMIT 1), 5, 1)
CREATE OR REPLACE MACRO lake.main.recommend_for_vector(vector, k, popularity_weight) AS TABLE
WITH
-- Arguments are put here once, under names that no column passed as an argument has.
given AS (SELECT vector::FLOAT[] AS _numbers, k AS _length, popularity_weight AS _weight),
served AS (SELECT any_value(len(embedding)) AS dimensions FROM lake.main.served_item_embeddings),
asked AS (
    SELECT
        CASE
            WHEN served.dimensions IS NULL
                THEN error('recommend_for_vector: nothing is served yet; run training_job first')
            WHEN given._numbers IS NULL THEN error('recommend_for_vector: expected a vector, found null')
            WHEN len(given._numbers) <> served.dimensions
                THEN error(
                    'recommend_for_vector: served vectors have ' || served.dimensions || ' numbers, found '
                    || len(given._numbers)
                )
            WHEN NOT list_bool_and(list_transform(given._numbers, lambda one: coalesce(isfinite(one), false)))
                THEN error('recommend_for_vector: the vector holds a null, NaN or infinity')
            ELSE given._numbers
        END AS embedding,
        CASE
            WHEN given._length >= 1 AND given._length = given._length::BIGINT THEN given._length::BIGINT
            ELSE error(
                'recommend_for_vector: k must be a whole number from 1, found '
                || coalesce(given._length::VARCHAR, 'null')
            )
        END AS places,
        CASE
            WHEN given._weight BETWEEN 0 AND 1 THEN given._weight::DOUBLE
            ELSE error(
                'recommend_for_vector: popularity_weight must lie from 0 to 1, found '
                || coalesce(given._weight::VARCHAR, 'null')
            )
        END AS gamma
    FROM served
    CROSS JOIN given
),
best AS (
    SELECT
        candidate.item_id,
        candidate.inverse_temperature * list_inner_product(asked.embedding, candidate.embedding) + candidate.bias
            + (asked.gamma - candidate.trained_popularity_weight) * candidate.log_q AS score,
        row_number() OVER (ORDER BY score DESC, candidate.item_id) AS rank
    FROM asked
    CROSS JOIN lake.main.served_item_embeddings AS candidate
    QUALIFY row_number() OVER (ORDER BY score DESC, candidate.item_id) <= asked.places
)
SELECT
    best.rank,
    best.item_id,
    items.title,
    coalesce(items.category, 'unknown') AS category,
    coalesce(popularity.bucket, 'cold') AS bucket,
    best.score
FROM best
LEFT JOIN lake.main.items AS items ON items.item_id = best.item_id
LEFT JOIN lake.main.item_frequency AS popularity
    ON popularity.item_id = best.item_id
    AND popularity.day = (SELECT model_day FROM lake.main.champion)
-- The last branch gives no row: it has the question judged where there is nothing to join it with.
UNION ALL BY NAME
SELECT NULL::BIGINT AS rank FROM asked WHERE asked.embedding IS NULL
ORDER BY rank
