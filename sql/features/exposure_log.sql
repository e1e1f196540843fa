-- Shown and not clicked. A pair that the user clicked on that day or in the trailing window is no negative;
-- clicks on later days are never looked at.
-- The window's clicks come from the log, not from training_pairs: a day that was materialized again there and not yet
-- here would decide by clicks that are gone. The scan reads three columns, and of them the clicked rows only.
WITH
clicks AS (
    SELECT day, user_id, item_id
    FROM impressions
    WHERE clicked AND day BETWEEN $first_day - ($window_days - 1) AND $last_day
)
-- An anti join, as NOT EXISTS with a range of days would first join every distinct day, user and item with the clicks.
-- Windows, as max_by would keep every request_id in memory, whatever the limit; a sort spills.
SELECT
    shown.day,
    shown.user_id,
    shown.item_id,
    shown.context,
    last_value(shown.request_id IGNORE NULLS) OVER alike AS request_id,
    count(*) OVER alike AS times_shown,
    min(shown.shown_at) OVER alike AS first_shown_at,
    max(shown.shown_at) OVER alike AS last_shown_at
FROM impressions AS shown
ANTI JOIN clicks
    ON clicks.user_id = shown.user_id
    AND clicks.item_id = shown.item_id
    AND clicks.day BETWEEN shown.day - ($window_days - 1) AND shown.day
WHERE shown.day BETWEEN $first_day AND $last_day AND NOT shown.clicked
WINDOW alike AS (
    PARTITION BY shown.day, shown.user_id, shown.item_id, shown.context
    ORDER BY shown.shown_at
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
)
QUALIFY row_number() OVER alike = 1
ORDER BY shown.day, shown.user_id, shown.item_id, shown.context
