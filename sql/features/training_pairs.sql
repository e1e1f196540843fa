-- Each click of the days, with the items that the user clicked in the trailing window strictly before it.
-- Clicks at the same moment do not see each other.
-- A history needs the moment of every click of the window, which no daily aggregate has; of the log the scan reads the
-- clicked rows of the window's days.
WITH
clicks AS (
    SELECT day, user_id, item_id, shown_at, request_id, context, weight
    FROM impressions
    WHERE clicked AND day BETWEEN $first_day - ($window_days - 1) AND $last_day
),
placed AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY user_id ORDER BY shown_at, item_id) AS place,
        rank() OVER (PARTITION BY user_id ORDER BY shown_at) - 1 AS earlier,
        count(*) OVER (
            PARTITION BY user_id
            ORDER BY day
            RANGE BETWEEN UNBOUNDED PRECEDING AND to_days($window_days) PRECEDING
        ) AS before_window
    FROM clicks
),
-- The history is a run of neighbours in the user's order of clicks, so it is cut out by place: one list of at most
-- history_length items a click, however many the user has.
with_history AS (
    SELECT
        *,
        list(item_id) OVER (
            PARTITION BY user_id
            ORDER BY shown_at, item_id
            ROWS BETWEEN
                place - 1 - greatest(before_window, earlier - $history_length) PRECEDING
                AND place - earlier PRECEDING
        ) AS history
    FROM placed
)
SELECT
    day,
    user_id,
    item_id,
    shown_at AS clicked_at,
    coalesce(history, []) AS history,
    request_id,
    context,
    coalesce(weight, 1) AS weight
FROM with_history
WHERE day BETWEEN $first_day AND $last_day
ORDER BY day, clicked_at, user_id, item_id
