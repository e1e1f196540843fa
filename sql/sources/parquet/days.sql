-- The log starts with its first row and is still growing; close it with TWOTOWER_LAST_DAY.
SELECT min(TRY_CAST(shown_at AS TIMESTAMP))::DATE AS first_day, NULL::DATE AS last_day
FROM read_parquet($path || '/impressions*.parquet', union_by_name = true)
