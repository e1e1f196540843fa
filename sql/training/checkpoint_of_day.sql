-- The newest model of a day; of those that one of the runs $run_ids trained, if they trained any.
SELECT version
FROM artifacts
WHERE asset = 'tower_checkpoint' AND model_day = $day
ORDER BY list_contains($run_ids, run_id) DESC, rowid DESC
LIMIT 1
