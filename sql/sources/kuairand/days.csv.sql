-- The log is closed: its UTC days are those found in the files.
SELECT
    epoch_ms(min(TRY_CAST(time_ms AS BIGINT)))::DATE AS first_day,
    epoch_ms(max(TRY_CAST(time_ms AS BIGINT)))::DATE AS last_day
FROM read_csv($path || '/log_standard_*.csv', header = true, union_by_name = true, all_varchar = true)
