-- How many of the impressions have no item of the catalogue, counted in the log itself; and in what most of these ids differ
-- from one of the catalogue, as far as orphan_items was made.
WITH
orphaned AS (
    SELECT item_id
    FROM impressions
    ANTI JOIN items USING (item_id)
)
SELECT
    count(*) AS orphaned,
    (SELECT count(*) FROM impressions) AS impressions,
    count(DISTINCT item_id) AS items,
    (
        SELECT arg_max({'cause': likely_cause, 'orphan': item_id, 'listed': catalogue_item_id}, impressions)
        FROM orphan_items
        WHERE likely_cause IS NOT NULL
    ) AS likely
FROM orphaned
