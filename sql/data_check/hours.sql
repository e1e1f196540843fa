-- How many rows would be kept of each hour of the UTC day.
SELECT hour, count(impressions.user_id) AS row_count
FROM range(24) AS hours(hour)
LEFT JOIN impressions ON hour(impressions.shown_at) = hours.hour
GROUP BY hour
ORDER BY hour
