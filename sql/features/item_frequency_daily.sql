SELECT
    day,
    item_id,
    count(*) AS impressions,
    count(*) FILTER (clicked) AS clicks,
    count(DISTINCT user_id) AS users,
    count(DISTINCT user_id) FILTER (clicked) AS clicking_users
FROM impressions
WHERE day BETWEEN $first_day AND $last_day
GROUP BY day, item_id
ORDER BY day, item_id
