-- Your own files, already in the columns of the data contract (docs/data-contract.md).
-- Text is taken as a timestamp too, UTC where it names no offset.
SELECT * EXCLUDE (moment)
FROM (
    SELECT
        *,
        CASE
            WHEN typeof(shown_at) = 'VARCHAR' THEN TRY_CAST(shown_at AS TIMESTAMPTZ) AT TIME ZONE 'UTC'
            ELSE TRY_CAST(shown_at AS TIMESTAMP)
        END AS moment
    FROM read_parquet($path || '/impressions*.parquet', union_by_name = true)
)
WHERE
    (moment >= $partition_start AND moment < $partition_end)
    -- What lies in the future belongs to no partition yet, and is rejected with the first.
    OR ($partition_start <= $first_partition_start AND (moment IS NULL OR moment > $now))
