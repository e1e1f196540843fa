-- For each day, the counts of the trailing window that ends on it, from the daily counts.
-- Decayed counts are summed as decimals, because a sum of floats depends on the order in which threads read the rows.
WITH
days AS (
    SELECT unnest(generate_series($first_day, $last_day, INTERVAL 1 DAY))::DATE AS day
),
windowed AS (
    SELECT
        days.day,
        daily.item_id,
        sum(daily.impressions)::BIGINT AS impressions,
        sum(daily.clicks)::BIGINT AS clicks,
        sum(
            (daily.impressions * 0.5 ** ((days.day - daily.day) / $half_life_days))::DECIMAL(24, 9)
        ) AS decayed_impressions,
        sum((daily.clicks * 0.5 ** ((days.day - daily.day) / $half_life_days))::DECIMAL(24, 9)) AS decayed_clicks
    FROM days
    JOIN item_frequency_daily AS daily
        ON daily.day BETWEEN days.day - ($window_days - 1) AND days.day
    WHERE daily.day BETWEEN greatest($first_day - ($window_days - 1), $first_partition) AND $last_day
    GROUP BY days.day, daily.item_id
),
shares AS (
    SELECT
        *,
        coalesce(clicks / nullif(sum(clicks) OVER all_items, 0), 0) AS q,
        coalesce(decayed_clicks::DOUBLE / nullif(sum(decayed_clicks) OVER all_items, 0)::DOUBLE, 0) AS decayed_q,
        row_number() OVER by_popularity AS popularity_rank,
        coalesce(sum(clicks) OVER by_popularity / nullif(sum(clicks) OVER all_items, 0), 0) AS cumulative_share,
        -- Buckets are decided by counts: shares are rounded, so an item on the boundary could fall on either side.
        sum(clicks) OVER by_popularity - clicks AS clicks_before,
        sum(clicks) OVER all_items AS all_clicks
    FROM windowed
    WINDOW
        all_items AS (PARTITION BY day),
        by_popularity AS (
            PARTITION BY day
            ORDER BY clicks DESC, impressions DESC, item_id
            ROWS UNBOUNDED PRECEDING
        )
)
SELECT
    * EXCLUDE (clicks_before, all_clicks)
        REPLACE (decayed_impressions::DOUBLE AS decayed_impressions, decayed_clicks::DOUBLE AS decayed_clicks),
    CASE
        WHEN clicks = 0 THEN 'cold'
        WHEN clicks_before < $head_share * all_clicks THEN 'head'
        WHEN clicks_before < $mid_share * all_clicks THEN 'mid'
        ELSE 'tail'
    END AS bucket
FROM shares
ORDER BY day, popularity_rank
