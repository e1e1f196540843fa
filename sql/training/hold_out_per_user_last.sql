-- Each user's clicks by time, then item_id: the last share is the test split, the share before it the validation split.
WITH ranked AS (
    SELECT
        *,
        percent_rank() OVER (PARTITION BY user_id ORDER BY clicked_at, item_id) AS relative_rank
    FROM training_pairs
    WHERE day BETWEEN $as_of - ($window_days - 1) AND $as_of
)
SELECT
    user_id,
    item_id,
    clicked_at,
    history,
    request_id,
    context,
    weight,
    CASE
        WHEN relative_rank > 1 - $test_share THEN 'test'
        WHEN relative_rank > 1 - $test_share - $validation_share THEN 'validation'
        ELSE 'train'
    END AS split
FROM ranked
ORDER BY clicked_at, user_id, item_id
