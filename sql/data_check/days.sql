-- The raw log by day, days without rows included: rows that belong to a day, and what would be kept of them.
WITH
found AS (
    SELECT
        shown_at::DATE AS day,
        count(*) AS row_count,
        count(reason) AS rejected,
        count(*) FILTER (reason IS NULL AND clicked) AS clicks,
        count(DISTINCT user_id) FILTER (reason IS NULL) AS users,
        count(DISTINCT item_id) FILTER (reason IS NULL) AS items
    FROM checked_impressions
    WHERE shown_at >= $partition_start AND shown_at < $partition_end
    GROUP BY ALL
),
orphaned AS (
    SELECT day, sum(impressions)::BIGINT AS orphaned
    FROM orphan_items
    GROUP BY day
)
SELECT
    days.day,
    coalesce(row_count, 0) AS row_count,
    coalesce(rejected, 0) AS rejected,
    coalesce(clicks, 0) AS clicks,
    coalesce(users, 0) AS users,
    coalesce(items, 0) AS items,
    coalesce(orphaned, 0) AS orphaned
FROM (
    SELECT unnest(generate_series($partition_start::DATE, $partition_end::DATE - 1, INTERVAL 1 DAY))::DATE AS day
) AS days
LEFT JOIN found USING (day)
LEFT JOIN orphaned USING (day)
ORDER BY days.day
