SELECT
    day,
    count(*) AS row_count,
    count(*) FILTER (clicked) AS clicks,
    count(*) FILTER (clicked) / count(*) AS click_rate,
    count(DISTINCT user_id) AS users,
    count(DISTINCT item_id) AS items
FROM staged_impressions
GROUP BY day
