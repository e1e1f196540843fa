-- Items shown and not clicked up to the last training click of each user. The feature exposure_log excludes items
-- clicked by the end of the day, including held-out clicks; here only clicks of the training split exclude items.
WITH
ranked AS (
    SELECT
        *,
        percent_rank() OVER (PARTITION BY user_id ORDER BY clicked_at, item_id) AS relative_rank
    FROM training_pairs
    WHERE day BETWEEN $as_of - ($window_days - 1) AND $as_of
),
training AS (
    FROM ranked
    WHERE relative_rank <= 1 - $test_share - $validation_share
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
