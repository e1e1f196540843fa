-- Real exposures. The column `date` is the day in China; partitions are the UTC days of `time_ms`.
SELECT
    user_id,
    video_id AS item_id,
    epoch_ms(time_ms) AS shown_at,
    is_click = 1 AS clicked,
    tab AS context
FROM read_parquet($path || '/log_standard_*.parquet', union_by_name = true)
WHERE
    (time_ms >= epoch_ms($partition_start) AND time_ms < epoch_ms($partition_end))
    -- Rows outside the published days (in UTC) belong to no partition. The first partition reads and rejects them.
    OR (
        $partition_start <= $first_partition_start
        AND (
            time_ms IS NULL
            OR time_ms < epoch_ms(TIMESTAMP '2022-04-07')
            OR time_ms >= epoch_ms(TIMESTAMP '2022-05-09')
        )
    )
