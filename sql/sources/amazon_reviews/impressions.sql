-- Amazon Reviews 2023 (Hou et al. 2024), one category: `<Category>.jsonl`. A rating of 4 or 5 is a click, a lower one is
-- shown and not clicked. Ids are declared as text: many ISBNs are digits with leading zeros.
SELECT user_id, parent_asin AS item_id, timestamp AS shown_at, rating >= 4 AS clicked
FROM read_json(
    $path || '/reviews/*.jsonl',
    format = 'newline_delimited',
    columns = {user_id: 'VARCHAR', parent_asin: 'VARCHAR', timestamp: 'BIGINT', rating: 'DOUBLE'}
)
WHERE
    (source_moment(timestamp) >= $partition_start AND source_moment(timestamp) < $partition_end)
    OR (
        $partition_start <= $first_partition_start
        AND (
            source_moment(timestamp) IS NULL
            OR source_moment(timestamp) > $now
            OR source_moment(timestamp) < $earliest
        )
    )
