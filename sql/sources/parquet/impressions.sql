-- Your own files, already in the columns of the data contract (docs/data-contract.md).
SELECT *
FROM read_parquet($path || '/impressions*.parquet', union_by_name = true)
WHERE
    (shown_at >= $partition_start AND shown_at < $partition_end)
    OR (shown_at IS NULL AND $partition_start <= $first_partition_start)
