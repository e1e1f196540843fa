-- The unexpired commits to a table, oldest first.
SELECT
    snapshot_id,
    snapshot_time,
    commit_extra_info ->> 'run_id' AS run_id,
    (commit_extra_info ->> 'first_day')::DATE AS first_day,
    (commit_extra_info ->> 'last_day')::DATE AS last_day
FROM ducklake_snapshots('lake')
WHERE list_contains((commit_extra_info -> 'tables')::VARCHAR[], $table)
ORDER BY snapshot_id
