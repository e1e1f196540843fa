-- The log starts at its first plausible row and is still growing. TWOTOWER_LAST_DAY closes it.
SELECT min(source_moment(shown_at))::DATE AS first_day, NULL::DATE AS last_day
FROM read_parquet($path || '/impressions*.parquet', union_by_name = true)
WHERE source_moment(shown_at) >= $earliest AND source_moment(shown_at) <= now() AT TIME ZONE 'UTC'
