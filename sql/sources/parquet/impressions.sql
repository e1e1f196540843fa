-- Your own Parquet files, with the columns of the data contract (docs/data-contract.md).
-- Text is accepted as a timestamp too: UTC unless it has an offset.
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
    -- Rows in the future, or without a readable timestamp, belong to no partition. The first partition rejects them.
    OR ($partition_start <= $first_partition_start AND (moment IS NULL OR moment > $now))
