-- The log starts at its first plausible row and is still growing. TWOTOWER_LAST_DAY closes it.
-- The first day is a subquery, so that it is not computed where TWOTOWER_FIRST_DAY is set.
SELECT
    (
        SELECT min(source_moment(shown_at))::DATE
        FROM read_parquet($path || '/impressions*.parquet', union_by_name = true)
        WHERE source_moment(shown_at) >= $earliest AND source_moment(shown_at) <= now() AT TIME ZONE 'UTC'
    ) AS first_day,
    NULL::DATE AS last_day
