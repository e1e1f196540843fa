-- The log is closed: seven days of training and seven of validation.
SELECT min(impression_time)::DATE AS first_day, max(impression_time)::DATE AS last_day
FROM read_parquet($path || '/*/behaviors.parquet')
