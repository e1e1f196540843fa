-- The last commit in which one of the runs $run_ids wrote a table's rows of a day; NULL if none of them did.
SELECT max(snapshot_id)
FROM ducklake_snapshots('lake')
WHERE
    list_contains((commit_extra_info -> 'tables')::VARCHAR[], $table)
    AND list_contains($run_ids, commit_extra_info ->> 'run_id')
    AND $day BETWEEN (commit_extra_info ->> 'first_day')::DATE AND (commit_extra_info ->> 'last_day')::DATE
