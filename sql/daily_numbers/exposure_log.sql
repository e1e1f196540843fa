SELECT
    day,
    count(*) AS row_count,
    sum(times_shown)::BIGINT AS times_shown,
    count(DISTINCT user_id) AS users
FROM staged_exposure_log
GROUP BY day
