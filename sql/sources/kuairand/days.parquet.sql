-- The log is closed: its UTC days are those found in the files, within the published ones.
SELECT
    min(epoch_ms(time_ms))::DATE AS first_day,
    max(epoch_ms(time_ms))::DATE AS last_day
FROM read_parquet($path || '/log_standard_*.parquet', union_by_name = true)
WHERE epoch_ms(time_ms) >= TIMESTAMP '2022-04-07' AND epoch_ms(time_ms) < TIMESTAMP '2022-05-09'
