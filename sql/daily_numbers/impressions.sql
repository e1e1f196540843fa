SELECT
    day,
    count(*) FILTER (reason IS NULL) AS row_count,
    count(*) AS rows_read,
    count(reason) AS rows_rejected,
    count(*) FILTER (reason IS NULL AND clicked) AS clicks,
    coalesce(
        count(*) FILTER (reason IS NULL AND clicked) / nullif(count(*) FILTER (reason IS NULL), 0),
        0
    ) AS click_rate,
    count(DISTINCT user_id) FILTER (reason IS NULL) AS users,
    count(DISTINCT item_id) FILTER (reason IS NULL) AS items
FROM checked_impressions
GROUP BY day
