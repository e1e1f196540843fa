-- What is known of the newest model of a day; of those that the run $run_id trained, if it trained any.
SELECT
    model_version,
    recipe,
    recall_at_20,
    popular_recall_at_20,
    decision,
    reasons
FROM model_history
WHERE model_day = $day
ORDER BY coalesce(run_id = $run_id, false) DESC, commit_order DESC
LIMIT 1
