-- Your own Parquet files, with the columns of the data contract (docs/data-contract.md).
-- Text is accepted as a timestamp too, UTC unless it has an offset, and so are numbers since 1970.
SELECT *
FROM read_parquet($path || '/impressions*.parquet', union_by_name = true)
WHERE
    (source_moment(shown_at) >= $partition_start AND source_moment(shown_at) < $partition_end)
    -- Rows in the future, long ago, or without a readable timestamp belong to no partition. The first one rejects them.
    OR (
        $partition_start <= $first_partition_start
        AND (
            source_moment(shown_at) IS NULL
            OR source_moment(shown_at) > $now
            OR source_moment(shown_at) < $earliest
        )
    )
