SELECT
    article_id AS item_id,
    category_str AS category,
    title,
    published_time AS published_at,
    article_type,
    premium
FROM read_parquet($path || '/articles.parquet')
