SELECT
    day,
    count(*) AS row_count,
    count(DISTINCT user_id) AS users,
    avg(len(history)) AS mean_history_length,
    count(*) FILTER (len(history) = 0) / count(*) AS share_without_history
FROM staged_training_pairs
GROUP BY day
