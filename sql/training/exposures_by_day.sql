-- What was shown and not clicked on the days of the training split. What a user clicked up to the day it was shown is
-- no exposure; the features have seen no later click.
SELECT
    user_id,
    item_id,
    context,
    request_id,
    times_shown
FROM exposure_log
WHERE day BETWEEN $as_of - ($window_days - 1) AND $as_of - 2
ORDER BY ALL
