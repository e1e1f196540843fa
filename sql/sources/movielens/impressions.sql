-- MovieLens-100K has no exposures: a rating of 4 or 5 is a click, a lower one is shown and not clicked.
SELECT
    "user_id:token" AS user_id,
    "item_id:token" AS item_id,
    make_timestamp(TRY_CAST(TRY_CAST("timestamp:float" AS DOUBLE) * 1000000 AS BIGINT)) AS shown_at,
    TRY_CAST("rating:float" AS DOUBLE) >= 4 AS clicked
FROM read_csv($path || '/ml-100k.inter', delim = '\t', header = true, all_varchar = true)
WHERE
    (shown_at >= $partition_start AND shown_at < $partition_end)
    -- Rows outside the published days belong to no partition. The first partition reads and rejects them.
    OR (
        $partition_start <= $first_partition_start
        AND (shown_at IS NULL OR shown_at < TIMESTAMP '1997-09-20' OR shown_at >= TIMESTAMP '1998-04-23')
    )
