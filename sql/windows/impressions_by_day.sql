SELECT day, count(*) AS impressions
FROM impressions
WHERE day BETWEEN $first AND $last
GROUP BY day
