-- The popularity of every item, as of the newest day of `item_frequency` and over its trailing window. Items of the
-- catalogue that were not shown in that window have zeros.
-- gives: day, item_id, title, category, bucket, popularity_rank (null if not shown), impressions, clicks, click_rate
--   (null if not shown), exposure_share and click_share (q), of all impressions and all clicks of the window.
-- example: FROM item_popularity ORDER BY popularity_rank LIMIT 5
CREATE OR REPLACE VIEW lake.main.item_popularity AS
WITH
newest AS (SELECT max(day) AS day FROM lake.main.item_frequency),
counted AS (SELECT * FROM lake.main.item_frequency WHERE day = (SELECT day FROM newest)),
known AS (
    SELECT item_id FROM lake.main.items
    UNION
    SELECT item_id FROM counted
)
SELECT
    newest.day,
    known.item_id,
    items.title,
    coalesce(items.category, 'unknown') AS category,
    coalesce(counted.bucket, 'cold') AS bucket,
    counted.popularity_rank,
    coalesce(counted.impressions, 0) AS impressions,
    coalesce(counted.clicks, 0) AS clicks,
    counted.clicks / counted.impressions AS click_rate,
    coalesce(counted.impressions / sum(counted.impressions) OVER (), 0) AS exposure_share,
    coalesce(counted.q, 0) AS click_share
FROM newest
CROSS JOIN known
LEFT JOIN counted ON counted.item_id = known.item_id
LEFT JOIN lake.main.items AS items ON items.item_id = known.item_id
WHERE newest.day IS NOT NULL
