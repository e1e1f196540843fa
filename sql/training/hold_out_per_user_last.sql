-- Each user's clicks in order of time, then item_id: the last share is the test, the share before it the validation.
WITH placed AS (
    SELECT
        *,
        percent_rank() OVER (PARTITION BY user_id ORDER BY clicked_at, item_id) AS place
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
        WHEN place > 1 - $test_share THEN 'test'
        WHEN place > 1 - $test_share - $validation_share THEN 'validation'
        ELSE 'train'
    END AS split
FROM placed
ORDER BY clicked_at, user_id, item_id
