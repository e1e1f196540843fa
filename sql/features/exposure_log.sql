-- Shown and not clicked. A pair that the user clicked on that day or in the trailing window is no negative;
-- clicks on later days are never looked at.
WITH
clicked_pairs AS (
    SELECT DISTINCT day, user_id, item_id
    FROM impressions
    WHERE clicked AND day BETWEEN $first_day - ($window_days - 1) AND $last_day
)
SELECT
    shown.day,
    shown.user_id,
    shown.item_id,
    shown.context,
    max_by(shown.request_id, shown.shown_at) AS request_id,
    count(*) AS times_shown,
    min(shown.shown_at) AS first_shown_at,
    max(shown.shown_at) AS last_shown_at
FROM impressions AS shown
WHERE
    shown.day BETWEEN $first_day AND $last_day
    AND NOT shown.clicked
    AND NOT EXISTS (
        FROM clicked_pairs
        WHERE
            clicked_pairs.user_id = shown.user_id
            AND clicked_pairs.item_id = shown.item_id
            AND clicked_pairs.day BETWEEN shown.day - ($window_days - 1) AND shown.day
    )
GROUP BY ALL
ORDER BY ALL
