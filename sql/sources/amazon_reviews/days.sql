-- The log is closed: the days of its first and last review.
SELECT min(moment)::DATE AS first_day, max(moment)::DATE AS last_day
FROM (
    SELECT source_moment(timestamp) AS moment
    FROM read_json(
        $path || '/reviews/*.jsonl', format = 'newline_delimited', columns = {timestamp: 'BIGINT'}
    )
)
WHERE moment >= $earliest
