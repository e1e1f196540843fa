-- `effective_items` is the exponential of the entropy of q: the number of equally popular items with that entropy.
SELECT
    day,
    count(*) AS row_count,
    sum(clicks)::BIGINT AS clicks_in_window,
    count(*) FILTER (bucket = 'head') AS head_items,
    count(*) FILTER (bucket = 'tail') AS tail_items,
    count(*) FILTER (bucket = 'cold') AS cold_items,
    max(q) AS largest_q,
    exp(-sum(q * ln(nullif(q, 0)))) AS effective_items
FROM staged_item_frequency
GROUP BY day
