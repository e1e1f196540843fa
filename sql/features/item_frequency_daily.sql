-- Grouping by user first needs one hash table; counting distinct users twice would need two.
WITH
by_user AS (
    SELECT day, item_id, user_id, count(*) AS impressions, count(*) FILTER (clicked) AS clicks
    FROM impressions
    WHERE day BETWEEN $first_day AND $last_day
    GROUP BY day, item_id, user_id
)
SELECT
    day,
    item_id,
    sum(impressions)::BIGINT AS impressions,
    sum(clicks)::BIGINT AS clicks,
    count(*) AS users,
    count(*) FILTER (clicks > 0) AS clicking_users
FROM by_user
GROUP BY day, item_id
ORDER BY day, item_id
