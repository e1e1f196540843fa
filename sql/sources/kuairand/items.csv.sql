-- `tag` lists category ids; the first is the category. 'unknown' and an empty list mean that there is none.
SELECT
    video_id AS item_id,
    nullif(split_part(tag, ',', 1), 'unknown') AS category,
    TRY_CAST(upload_dt AS TIMESTAMP) AS published_at,
    tag AS tags,
    author_id,
    video_type,
    upload_type,
    video_duration,
    music_type
FROM read_csv($path || '/video_features_basic*.csv', header = true, all_varchar = true)
