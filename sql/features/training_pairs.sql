-- Each click, with its history: the items that the user clicked in the trailing window, strictly before the click.
-- Clicks with the same timestamp are not in each other's history.
-- A history needs the timestamp of every click in the window, which no daily aggregate has. The scan reads only the
-- clicked rows of the window's days.
WITH
clicks AS (
    SELECT day, user_id, item_id, shown_at, request_id, context, weight
    FROM impressions
    WHERE clicked AND day BETWEEN greatest($first_day - ($window_days - 1), $first_partition) AND $last_day
),
ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY user_id ORDER BY shown_at, item_id) AS click_index,
        rank() OVER (PARTITION BY user_id ORDER BY shown_at) - 1 AS clicks_before,
        count(*) OVER (
            PARTITION BY user_id
            ORDER BY day
            RANGE BETWEEN UNBOUNDED PRECEDING AND to_days($window_days) PRECEDING
        ) AS clicks_before_window
    FROM clicks
),
-- A history is a contiguous range of the user's ordered clicks, so a window frame selects it: one list of at most
-- history_length items per click, however many clicks the user has.
with_history AS (
    SELECT
        *,
        list(item_id) OVER (
            PARTITION BY user_id
            ORDER BY shown_at, item_id
            ROWS BETWEEN
                click_index - 1 - greatest(clicks_before_window, clicks_before - $history_length) PRECEDING
                AND click_index - clicks_before PRECEDING
        ) AS history
    FROM ranked
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
