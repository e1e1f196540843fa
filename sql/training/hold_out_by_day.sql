-- Test: the clicks of the last day. Validation: those of the day before. Training: the earlier days of the window.
SELECT
    user_id,
    item_id,
    clicked_at,
    history,
    request_id,
    context,
    weight,
    CASE
        WHEN day = $as_of THEN 'test'
        WHEN day = $as_of - 1 THEN 'validation'
        ELSE 'train'
    END AS split
FROM training_pairs
WHERE day BETWEEN $as_of - ($window_days - 1) AND $as_of
ORDER BY clicked_at, user_id, item_id
