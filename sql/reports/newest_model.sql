-- What is known of the newest model of a day.
SELECT
    model_version,
    recipe,
    recall_at_20,
    popular_recall_at_20,
    decision,
    reasons
FROM model_history
WHERE model_day = $day
ORDER BY trained_at DESC
LIMIT 1
