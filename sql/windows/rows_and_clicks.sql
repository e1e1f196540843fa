SELECT count(*) AS impressions, count(*) FILTER (clicked) AS clicks
FROM impressions
WHERE day = $day
