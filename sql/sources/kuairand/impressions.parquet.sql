-- Real exposures. `date` is the day in China; the partition is the UTC day of `time_ms`.
SELECT
    user_id,
    video_id AS item_id,
    epoch_ms(time_ms) AS shown_at,
    is_click = 1 AS clicked,
    tab AS context
FROM read_parquet($path || '/log_standard_*.parquet', union_by_name = true)
WHERE
    (time_ms >= epoch_ms($partition_start) AND time_ms < epoch_ms($partition_end))
    -- What lies outside the published days (in UTC) belongs to no partition, and is rejected with the first.
    OR (
        $partition_start <= $first_partition_start
        AND (
            time_ms IS NULL
            OR time_ms < epoch_ms(TIMESTAMP '2022-04-07')
            OR time_ms >= epoch_ms(TIMESTAMP '2022-05-09')
        )
    )
