-- The log is closed: its first and last UTC day are read from the files, within the published days.
SELECT
    min(epoch_ms(TRY_CAST(time_ms AS BIGINT)))::DATE AS first_day,
    max(epoch_ms(TRY_CAST(time_ms AS BIGINT)))::DATE AS last_day
FROM read_csv($path || '/log_standard_*.csv', header = true, union_by_name = true, all_varchar = true)
WHERE
    epoch_ms(TRY_CAST(time_ms AS BIGINT)) >= TIMESTAMP '2022-04-07'
    AND epoch_ms(TRY_CAST(time_ms AS BIGINT)) < TIMESTAMP '2022-05-09'
