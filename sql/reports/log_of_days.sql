-- The log of every day from $first_day to $last_day, days without rows included.
WITH
days AS (
    SELECT unnest(generate_series($first_day, $last_day, INTERVAL 1 DAY))::DATE AS day
),
kept AS (
    SELECT day, count(*) AS impressions, count(*) FILTER (clicked) AS clicks
    FROM impressions
    WHERE day BETWEEN $first_day AND $last_day
    GROUP BY day
),
rejected AS (
    SELECT day, count(*) AS rejected
    FROM rejected_impressions
    WHERE day BETWEEN $first_day AND $last_day
    GROUP BY day
),
orphaned AS (
    SELECT day, sum(impressions)::BIGINT AS orphaned
    FROM orphan_items
    WHERE day BETWEEN $first_day AND $last_day
    GROUP BY day
)
SELECT
    day,
    coalesce(impressions, 0) AS impressions,
    coalesce(clicks, 0) AS clicks,
    coalesce(rejected, 0) AS rejected,
    coalesce(orphaned, 0) AS orphaned
FROM days
LEFT JOIN kept USING (day)
LEFT JOIN rejected USING (day)
LEFT JOIN orphaned USING (day)
ORDER BY day
