-- Real exposures. The column `date` is the day in China; partitions are the UTC days of `time_ms`.
SELECT
    user_id,
    video_id AS item_id,
    epoch_ms(TRY_CAST(time_ms AS BIGINT)) AS shown_at,
    TRY_CAST(is_click AS INTEGER) = 1 AS clicked,
    tab AS context
FROM read_csv($path || '/log_standard_*.csv', header = true, union_by_name = true, all_varchar = true)
WHERE
    (shown_at >= $partition_start AND shown_at < $partition_end)
    -- Rows outside the published days (in UTC) belong to no partition. The first partition reads and rejects them.
    OR (
        $partition_start <= $first_partition_start
        AND (shown_at IS NULL OR shown_at < TIMESTAMP '2022-04-07' OR shown_at >= TIMESTAMP '2022-05-09')
    )
