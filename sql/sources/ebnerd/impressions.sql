-- Ekstra Bladet EB-NeRD (Kruse et al. 2024): real exposures, a list of articles in view per row, in Parquet files below
-- `train/` and `validation/`. The same article is sometimes listed twice in one view.
SELECT
    user_id,
    article_id AS item_id,
    impression_time AS shown_at,
    list_contains(article_ids_clicked, article_id) AS clicked,
    impression_id AS request_id,
    CASE WHEN front_page IS NULL THEN 'front page' ELSE 'article' END AS context
FROM (
    SELECT
        user_id,
        unnest(list_distinct(article_ids_inview)) AS article_id,
        impression_time,
        article_ids_clicked,
        impression_id,
        article_id AS front_page
    FROM read_parquet($path || '/*/behaviors.parquet')
    WHERE impression_time >= $partition_start AND impression_time < $partition_end
)
