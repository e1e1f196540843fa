-- Your own files, already in the columns of the data contract (docs/data-contract.md).
SELECT *
FROM read_parquet($path || '/impressions*.parquet', union_by_name = true)
WHERE
    (TRY_CAST(shown_at AS TIMESTAMP) >= $partition_start AND TRY_CAST(shown_at AS TIMESTAMP) < $partition_end)
    OR (TRY_CAST(shown_at AS TIMESTAMP) IS NULL AND $partition_start <= $first_partition_start)
