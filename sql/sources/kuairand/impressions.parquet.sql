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
    OR (time_ms IS NULL AND $partition_start <= $first_partition_start)
