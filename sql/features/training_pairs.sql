-- Each click of the days, with the items that the user clicked in the trailing window strictly before it.
-- Clicks at the same moment do not see each other.
WITH
clicks AS (
    SELECT day, user_id, item_id, shown_at, request_id, context, weight
    FROM impressions
    WHERE clicked AND day BETWEEN $first_day - ($window_days - 1) AND $last_day
),
with_past AS (
    SELECT
        *,
        list({'clicked_at': shown_at, 'item_id': item_id, 'day': day}) OVER (
            PARTITION BY user_id
            ORDER BY shown_at
            RANGE BETWEEN to_days($window_days) PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING
        ) AS past
    FROM clicks
)
SELECT
    day,
    user_id,
    item_id,
    shown_at AS clicked_at,
    coalesce(list_transform(
        list_sort(list_filter(past, lambda click: click.day > with_past.day - $window_days))[-$history_length:],
        lambda click: click.item_id
    ), []) AS history,
    request_id,
    context,
    coalesce(weight, 1) AS weight
FROM with_past
WHERE day BETWEEN $first_day AND $last_day
ORDER BY day, clicked_at, user_id, item_id
