-- Means over the items and over the versions that the day's model was compared with.
SELECT
    day,
    count(*) AS row_count,
    count(DISTINCT other_version) AS versions_compared,
    avg(cosine) AS mean_cosine,
    quantile_cont(cosine, 0.05) AS cosine_of_most_moved,
    avg(neighbours_kept) AS neighbours_kept
FROM staged_embedding_drift
GROUP BY day
