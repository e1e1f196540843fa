-- How many rows of the raw log were rejected from $first_day to $last_day, by reason.
SELECT reason, count(*) AS row_count
FROM rejected_impressions
WHERE day BETWEEN $first_day AND $last_day
GROUP BY reason
ORDER BY row_count DESC, reason
