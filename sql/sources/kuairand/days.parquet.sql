-- The log is closed: its first and last UTC day are read from the files, within the published days.
SELECT
    min(epoch_ms(time_ms))::DATE AS first_day,
    max(epoch_ms(time_ms))::DATE AS last_day
FROM read_parquet($path || '/log_standard_*.parquet', union_by_name = true)
WHERE epoch_ms(time_ms) >= TIMESTAMP '2022-04-07' AND epoch_ms(time_ms) < TIMESTAMP '2022-05-09'
