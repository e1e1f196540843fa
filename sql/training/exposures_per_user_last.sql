-- What was shown and not clicked up to the last training click of each user. The feature exposure_log leaves out what
-- was clicked by the end of the day, held-out clicks among it; here the clicks of the training split alone decide.
WITH
placed AS (
    SELECT
        *,
        percent_rank() OVER (PARTITION BY user_id ORDER BY clicked_at, item_id) AS place
    FROM training_pairs
    WHERE day BETWEEN $as_of - ($window_days - 1) AND $as_of
),
training AS (
    FROM placed
    WHERE place <= 1 - $test_share - $validation_share
),
ends AS (
    SELECT user_id, max(clicked_at) AS last_click
    FROM training
    GROUP BY user_id
)
SELECT
    shown.user_id,
    shown.item_id,
    shown.context,
    max_by(shown.request_id, shown.shown_at) AS request_id,
    count(*) AS times_shown
FROM impressions AS shown
JOIN ends ON ends.user_id = shown.user_id AND shown.shown_at <= ends.last_click
WHERE
    NOT shown.clicked
    AND shown.day BETWEEN $as_of - ($window_days - 1) AND $as_of
    AND NOT EXISTS (
        FROM training
        WHERE training.user_id = shown.user_id AND training.item_id = shown.item_id
    )
GROUP BY ALL
ORDER BY ALL
