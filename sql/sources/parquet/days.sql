-- The log starts with its first row and is still growing; close it with TWOTOWER_LAST_DAY.
SELECT min(moment)::DATE AS first_day, NULL::DATE AS last_day
FROM (
    SELECT
        CASE
            WHEN typeof(shown_at) = 'VARCHAR' THEN TRY_CAST(shown_at AS TIMESTAMPTZ) AT TIME ZONE 'UTC'
            ELSE TRY_CAST(shown_at AS TIMESTAMP)
        END AS moment
    FROM read_parquet($path || '/impressions*.parquet', union_by_name = true)
)
WHERE moment <= now() AT TIME ZONE 'UTC'
