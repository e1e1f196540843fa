SELECT day, count(*) AS row_count, sum(impressions)::BIGINT AS impressions, sum(clicks)::BIGINT AS clicks
FROM staged_item_frequency_daily
GROUP BY day
