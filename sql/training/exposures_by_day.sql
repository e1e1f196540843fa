-- Items shown and not clicked on the days of the training split. exposure_log excludes items that the user clicked on
-- that day or before; later clicks are unknown to it.
SELECT
    user_id,
    item_id,
    context,
    request_id,
    times_shown
FROM exposure_log
WHERE day BETWEEN $as_of - ($window_days - 1) AND $as_of - 2
ORDER BY ALL
