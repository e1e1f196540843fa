-- The list of `twotower recommend`, by exact search: the best items that the user has not clicked, best first.
-- arguments: user: id of a user that the champion knows; k: length of the list, at least 1; popularity_weight: γ, from
--   0 (affinity alone) to 1 (click probability).
-- gives: rank, item_id, title, category, bucket, score, which is inverse_temperature·⟨user, item⟩ + bias + (γ −
--   trained_popularity_weight)·log_q. Empty for a user who has clicked every item.
-- errors: an unknown or null user, a k that is not a whole number of at least 1, a γ outside 0 to 1, nothing served yet.
-- example: FROM recommend((SELECT min(user_id) FROM current_user_embeddings), 5, 0.5)
CREATE OR REPLACE MACRO lake.main.recommend(user, k, popularity_weight) AS TABLE
WITH
-- Arguments are renamed once, so that they cannot clash with a column of the same name passed by the caller.
arguments AS (SELECT user::VARCHAR AS _user, k AS _k, popularity_weight AS _gamma),
validated AS (
    SELECT
        CASE
            WHEN NOT EXISTS (FROM lake.main.champion)
                THEN error('recommend: nothing is served yet; run training_job first')
            WHEN arguments._user IS NULL THEN error('recommend: expected the id of a user, found null')
            WHEN NOT EXISTS (FROM lake.main.served_user_embeddings AS served WHERE served.user_id = arguments._user)
                THEN error(
                    'recommend: the served model does not know the user ''' || arguments._user
                    || '''; the users that it knows are in current_user_embeddings'
                )
            ELSE arguments._user
        END AS user_id,
        CASE
            WHEN arguments._k >= 1 AND arguments._k = arguments._k::BIGINT THEN arguments._k::BIGINT
            ELSE error(
                'recommend: k must be a whole number of at least 1, found ' || coalesce(arguments._k::VARCHAR, 'null')
            )
        END AS list_length,
        CASE
            WHEN arguments._gamma BETWEEN 0 AND 1 THEN arguments._gamma::DOUBLE
            ELSE error(
                'recommend: popularity_weight must be between 0 and 1, found '
                || coalesce(arguments._gamma::VARCHAR, 'null')
            )
        END AS gamma
    FROM arguments
),
scored AS (
    SELECT
        validated.list_length,
        candidate.item_id,
        query_user.inverse_temperature * list_inner_product(query_user.embedding, candidate.embedding) + candidate.bias
            + (validated.gamma - candidate.trained_popularity_weight) * candidate.log_q AS score
    FROM validated
    JOIN lake.main.served_user_embeddings AS query_user ON query_user.user_id = validated.user_id
    CROSS JOIN lake.main.served_item_embeddings AS candidate
    WHERE
        NOT EXISTS (
            FROM lake.main.impressions AS seen
            WHERE seen.clicked AND seen.user_id = validated.user_id AND seen.item_id = candidate.item_id
        )
),
best AS (
    SELECT item_id, score, row_number() OVER (ORDER BY score DESC, item_id) AS rank
    FROM scored
    QUALIFY row_number() OVER (ORDER BY score DESC, item_id) <= list_length
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
SELECT NULL::BIGINT AS rank FROM validated WHERE validated.user_id IS NULL
ORDER BY rank
