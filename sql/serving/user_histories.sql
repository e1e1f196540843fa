-- Every known user with their latest clicks in the trailing window, oldest first; an empty list without clicks.
WITH
clicked AS (
    SELECT user_id, list({'clicked_at': clicked_at, 'item_id': item_id}) AS clicks
    FROM training_pairs
    WHERE day BETWEEN $as_of - ($window_days - 1) AND $as_of
    GROUP BY user_id
),
known AS (
    SELECT user_id FROM users
    UNION
    SELECT user_id FROM impressions WHERE day BETWEEN $as_of - ($window_days - 1) AND $as_of
)
SELECT
    user_id,
    coalesce(
        list_transform(list_sort(clicks)[-$history_length:], lambda click: click.item_id), []
    ) AS history
FROM known
LEFT JOIN clicked USING (user_id)
ORDER BY user_id
