-- How often each item was shown and not clicked, over the exposures of the training split.
SELECT item_id, sum(times_shown)::BIGINT AS impressions
FROM staged_exposures
GROUP BY item_id
ORDER BY item_id
