SELECT *
FROM read_parquet($path || '/users*.parquet', union_by_name = true)
