-- The best items for any vector in the champion's embedding space, best first: for example the mean of several users,
-- or an item's vector. No item is excluded.
-- arguments: vector: of the dimension of the served vectors, used without normalisation (users' vectors have norm 1; a
--   larger norm gives affinity more weight); k: length of the list, at least 1; popularity_weight: γ, from 0 to 1.
-- gives: rank, item_id, title, category, bucket, score.
-- errors: a vector that is null, of another dimension or with a number that is not finite, a k that is not a whole
--   number of at least 1, a γ outside 0 to 1, nothing served yet.
-- example: FROM recommend_for_vector((SELECT embedding FROM current_user_embeddings ORDER BY user_id LIMIT 1), 5, 1)
CREATE OR REPLACE MACRO lake.main.recommend_for_vector(vector, k, popularity_weight) AS TABLE
WITH
-- Arguments are renamed once, so that they cannot clash with a column of the same name passed by the caller.
arguments AS (SELECT vector::FLOAT[] AS _vector, k AS _k, popularity_weight AS _gamma),
served AS (SELECT any_value(len(embedding)) AS dimensions FROM lake.main.served_item_embeddings),
validated AS (
    SELECT
        CASE
            WHEN served.dimensions IS NULL
                THEN error('recommend_for_vector: nothing is served yet; run training_job first')
            WHEN arguments._vector IS NULL THEN error('recommend_for_vector: expected a vector, found null')
            WHEN len(arguments._vector) <> served.dimensions
                THEN error(
                    'recommend_for_vector: served vectors have ' || served.dimensions || ' numbers, found '
                    || len(arguments._vector)
                )
            WHEN NOT list_bool_and(list_transform(arguments._vector, lambda number: coalesce(isfinite(number), false)))
                THEN error('recommend_for_vector: the vector holds a null, NaN or infinity')
            ELSE arguments._vector
        END AS embedding,
        CASE
            WHEN arguments._k >= 1 AND arguments._k = arguments._k::BIGINT THEN arguments._k::BIGINT
            ELSE error(
                'recommend_for_vector: k must be a whole number of at least 1, found '
                || coalesce(arguments._k::VARCHAR, 'null')
            )
        END AS list_length,
        CASE
            WHEN arguments._gamma BETWEEN 0 AND 1 THEN arguments._gamma::DOUBLE
            ELSE error(
                'recommend_for_vector: popularity_weight must be between 0 and 1, found '
                || coalesce(arguments._gamma::VARCHAR, 'null')
            )
        END AS gamma
    FROM served
    CROSS JOIN arguments
),
best AS (
    SELECT
        candidate.item_id,
        candidate.inverse_temperature * list_inner_product(validated.embedding, candidate.embedding) + candidate.bias
            + (validated.gamma - candidate.trained_popularity_weight) * candidate.log_q AS score,
        row_number() OVER (ORDER BY score DESC, candidate.item_id) AS rank
    FROM validated
    CROSS JOIN lake.main.served_item_embeddings AS candidate
    QUALIFY row_number() OVER (ORDER BY score DESC, candidate.item_id) <= validated.list_length
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
-- The last branch returns no row. It makes DuckDB check the arguments where the join is empty.
UNION ALL BY NAME
SELECT NULL::BIGINT AS rank FROM validated WHERE validated.embedding IS NULL
ORDER BY rank
