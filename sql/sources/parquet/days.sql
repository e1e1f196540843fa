-- The log starts at its first row and is still growing. TWOTOWER_LAST_DAY closes it.
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
