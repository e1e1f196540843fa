-- How many rows of each day were rejected, and why most of them. Rows without a plausible time have no day of their own.
SELECT
    day,
    count(*) AS row_count,
    count(reason) AS rejected,
    mode(reason) AS reason
FROM checked_impressions
WHERE shown_at::DATE = day
GROUP BY day
HAVING count(reason) > $share * count(*)
ORDER BY day
