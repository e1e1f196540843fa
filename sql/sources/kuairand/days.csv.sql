-- The log is closed: its UTC days are those found in the files.
SELECT
    epoch_ms(min(time_ms))::DATE AS first_day,
    epoch_ms(max(time_ms))::DATE AS last_day
FROM read_csv($path || '/log_standard_*.csv', header = true, union_by_name = true)
