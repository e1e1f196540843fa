-- Whether the window that ends with $as_of reaches rows from before the first partition: TWOTOWER_FIRST_DAY was moved.
SELECT EXISTS (
    FROM impressions WHERE day BETWEEN $as_of - ($window_days - 1) AND $first_partition - 1
)
