-- Impressions that were not clicked. A pair that the user clicked on that day or in the trailing window is excluded;
-- clicks on later days are never read.
-- The clicks of the window are read from the log. `training_pairs` holds the same clicks, but is out of date where a
-- day of the log was rematerialized and its pairs were not. The scan reads three columns, and only clicked rows.
WITH
clicks AS (
    SELECT day, user_id, item_id
    FROM impressions
    WHERE clicked AND day BETWEEN greatest($first_day - ($window_days - 1), $first_partition) AND $last_day
)
-- ANTI JOIN is faster than NOT EXISTS, which would first join every distinct day, user and item with the clicks.
-- A window function spills to disk; max_by would keep every request_id in memory, whatever the limit.
SELECT
    shown.day,
    shown.user_id,
    shown.item_id,
    shown.context,
    last_value(shown.request_id IGNORE NULLS) OVER exposure AS request_id,
    count(*) OVER exposure AS times_shown,
    min(shown.shown_at) OVER exposure AS first_shown_at,
    max(shown.shown_at) OVER exposure AS last_shown_at
FROM impressions AS shown
ANTI JOIN clicks
    ON clicks.user_id = shown.user_id
    AND clicks.item_id = shown.item_id
    AND clicks.day BETWEEN shown.day - ($window_days - 1) AND shown.day
WHERE shown.day BETWEEN $first_day AND $last_day AND NOT shown.clicked
WINDOW exposure AS (
    PARTITION BY shown.day, shown.user_id, shown.item_id, shown.context
    ORDER BY shown.shown_at
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
)
QUALIFY row_number() OVER exposure = 1
ORDER BY shown.day, shown.user_id, shown.item_id, shown.context
