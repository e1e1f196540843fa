-- The shares are of the day's impressions and of its clicks.
WITH
shown AS (
    SELECT day, count(*) AS impressions, count(*) FILTER (clicked) AS clicks
    FROM impressions
    WHERE day BETWEEN $first_day AND $last_day
    GROUP BY day
),
orphaned AS (
    SELECT day, count(*) AS row_count, sum(impressions) AS impressions, sum(clicks) AS clicks
    FROM staged_orphan_items
    GROUP BY day
)
SELECT
    shown.day,
    coalesce(orphaned.row_count, 0) AS row_count,
    coalesce(orphaned.impressions / shown.impressions, 0) AS share_of_impressions,
    coalesce(orphaned.clicks / nullif(shown.clicks, 0), 0) AS share_of_clicks
FROM shown
LEFT JOIN orphaned USING (day)
