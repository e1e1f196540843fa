-- The last decision on a challenger against the given champion.
SELECT decision, reasons, index_version
FROM champion_decisions
WHERE
    model_version = $model_version
    AND champion_before IS NOT DISTINCT FROM $champion_before
    AND decision IN ('promoted', 'refused')
ORDER BY rowid DESC
LIMIT 1
