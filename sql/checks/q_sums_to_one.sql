-- On every day with a click in its window, q and decayed_q each sum to 1.
WITH sums AS (
    SELECT day, sum(q) AS total, sum(decayed_q) AS decayed_total
    FROM item_frequency
    WHERE day BETWEEN $first_day AND $last_day
    GROUP BY day
    HAVING sum(clicks) > 0
),
off AS (
    FROM sums
    WHERE NOT (abs(total - 1) <= 1e-6 AND abs(decayed_total - 1) <= 1e-6)
)
SELECT
    count(*) = 0 AS passed,
    'furthest sum from 1: ' || (
        SELECT coalesce(max_by(total, abs(total - 1))::VARCHAR, 'no day with a click') FROM sums
    ) AS observed,
    'every day''s q and decayed_q sum to 1 within 1e-6' AS expected,
    list(day::VARCHAR || ': ' || total || ' and ' || decayed_total ORDER BY day)[:5] AS sample
FROM off
