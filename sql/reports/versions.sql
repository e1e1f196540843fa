-- Every version of the model, the newest day first, with what was measured of it and decided on it.
SELECT
    model_day,
    model_version,
    recipe,
    recall_at_20,
    popular_recall_at_20,
    served,
    decision,
    trained_at,
    decided_at
FROM model_history
ORDER BY model_day DESC, commit_order DESC
