-- The list that `twotower recommend` serves, by exact search: the best items that the user has not clicked, best first.
-- arguments: user: id of a user that the champion knows; k: how many, at least 1; popularity_weight: γ, from 0
--   (affinity alone) to 1 (click probability).
-- gives: rank, item_id, title, category, bucket, score, which is inverse_temperature·⟨user, item⟩ + bias + (γ −
--   trained_popularity_weight)·log_q. Empty for a user who has clicked everything.
-- errors: an unknown or null user, a k that is no whole number from 1, a γ outside 0 to 1, nothing served yet.
-- example: FROM recommend((SELECT min(user_id) FROM current_user_embeddings), 5, 0.5)
CREATE OR REPLACE MACRO lake.main.recommend(user, k, popularity_weight) AS TABLE
WITH
-- Arguments are put here once, under names that no column passed as an argument has.
given AS (SELECT user::VARCHAR AS _wanted, k AS _length, popularity_weight AS _weight),
asked AS (
    SELECT
        CASE
            WHEN NOT EXISTS (FROM lake.main.champion)
                THEN error('recommend: nothing is served yet; run training_job first')
            WHEN given._wanted IS NULL THEN error('recommend: expected the id of a user, found null')
            WHEN NOT EXISTS (FROM lake.main.served_user_embeddings AS known WHERE known.user_id = given._wanted)
                THEN error(
                    'recommend: the served model does not know the user ''' || given._wanted
                    || '''; those that it knows are in current_user_embeddings'
                )
            ELSE given._wanted
        END AS user_id,
        CASE
            WHEN given._length >= 1 AND given._length = given._length::BIGINT THEN given._length::BIGINT
            ELSE error(
                'recommend: k must be a whole number from 1, found ' || coalesce(given._length::VARCHAR, 'null')
            )
        END AS places,
        CASE
            WHEN given._weight BETWEEN 0 AND 1 THEN given._weight::DOUBLE
            ELSE error(
                'recommend: popularity_weight must lie from 0 to 1, found '
                || coalesce(given._weight::VARCHAR, 'null')
            )
        END AS gamma
    FROM given
),
scored AS (
    SELECT
        asked.places,
        candidate.item_id,
        asking.inverse_temperature * list_inner_product(asking.embedding, candidate.embedding) + candidate.bias
            + (asked.gamma - candidate.trained_popularity_weight) * candidate.log_q AS score
    FROM asked
    JOIN lake.main.served_user_embeddings AS asking ON asking.user_id = asked.user_id
    CROSS JOIN lake.main.served_item_embeddings AS candidate
    WHERE
        NOT EXISTS (
            FROM lake.main.impressions AS seen
            WHERE seen.clicked AND seen.user_id = asked.user_id AND seen.item_id = candidate.item_id
        )
),
best AS (
    SELECT item_id, score, row_number() OVER (ORDER BY score DESC, item_id) AS rank
    FROM scored
    QUALIFY row_number() OVER (ORDER BY score DESC, item_id) <= places
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
SELECT NULL::BIGINT AS rank FROM asked WHERE asked.user_id IS NULL
ORDER BY rank
