SELECT *
FROM read_parquet($path || '/items*.parquet', union_by_name = true)
