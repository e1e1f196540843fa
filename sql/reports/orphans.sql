-- How many of the impressions in the lake have no item of the catalogue, and in what most of these ids differ from one.
SELECT
    coalesce(sum(impressions), 0)::BIGINT AS orphaned,
    (SELECT count(*) FROM impressions) AS impressions,
    count(DISTINCT item_id) AS items,
    (
        SELECT arg_max({'cause': likely_cause, 'orphan': item_id, 'listed': catalogue_item_id}, impressions)
        FROM orphan_items
        WHERE likely_cause IS NOT NULL
    ) AS likely
FROM orphan_items
