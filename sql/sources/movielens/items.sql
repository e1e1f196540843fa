-- The first genre is the category; all genres are kept as a feature.
SELECT
    "item_id:token" AS item_id,
    split_part("class:token_seq", ' ', 1) AS category,
    "movie_title:token_seq" AS title,
    make_timestamp(TRY_CAST("release_year:token" AS BIGINT), 1, 1, 0, 0, 0) AS published_at,
    "class:token_seq" AS genres,
    "release_year:token" AS release_year
FROM read_csv($path || '/ml-100k.item', delim = '\t', header = true, quote = '', all_varchar = true)
