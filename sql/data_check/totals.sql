-- What would be kept of the log, in one row.
WITH
clicks_of_users AS (
    SELECT user_id, count(*) FILTER (clicked) AS clicks
    FROM impressions
    GROUP BY user_id
),
clicks_of_items AS (
    SELECT item_id, count(*) FILTER (clicked) AS clicks
    FROM impressions
    GROUP BY item_id
)
SELECT
    (SELECT count(*) FROM impressions) AS impressions,
    (SELECT count(*) FROM impressions WHERE clicked) AS clicks,
    (SELECT count(*) FROM clicks_of_users) AS users,
    (SELECT count(*) FROM clicks_of_users WHERE clicks > 0) AS clicking_users,
    (SELECT count(*) FROM clicks_of_users WHERE clicks = 1) AS users_with_one_click,
    (SELECT count(*) FROM clicks_of_items) AS items_shown,
    (SELECT count(*) FROM clicks_of_items WHERE clicks > 0) AS items_clicked,
    (SELECT arg_max(item_id, clicks) FROM clicks_of_items WHERE clicks > 0) AS top_item,
    (SELECT max(clicks) FROM clicks_of_items) AS clicks_of_top_item,
    (SELECT count(*) FROM impressions WHERE request_id IS NOT NULL) AS with_request,
    (SELECT count(DISTINCT context) FROM impressions) AS contexts,
    (
        SELECT count(*) > 0
        FROM (SELECT request_id FROM impressions GROUP BY request_id HAVING count(DISTINCT item_id) > 1)
        WHERE request_id IS NOT NULL
    ) AS requests_hold_items,
    (
        SELECT count(*) > 0
        FROM (SELECT context FROM impressions GROUP BY context HAVING count(DISTINCT item_id) > 1)
        WHERE context IS NOT NULL
    ) AS contexts_hold_items,
    (SELECT count(*) FROM items) AS catalogue,
    (SELECT count(DISTINCT category) FROM items) AS categories,
    (SELECT count(*) FROM users) AS user_rows
