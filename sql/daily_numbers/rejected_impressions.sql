SELECT day, count(*) AS row_count
FROM staged_rejected_impressions
GROUP BY day
