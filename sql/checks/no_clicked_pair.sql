-- The exposure log has no pair that the user clicked on the same day or in the trailing window.
WITH wrong AS (
    SELECT DISTINCT exposed.day, exposed.user_id, exposed.item_id
    FROM exposure_log AS exposed
    JOIN impressions AS click
        ON click.user_id = exposed.user_id
        AND click.item_id = exposed.item_id
        AND click.day BETWEEN greatest(exposed.day - ($window_days - 1), $first_partition) AND exposed.day
    WHERE click.clicked AND exposed.day BETWEEN $first_day AND $last_day
)
SELECT
    count(*) = 0 AS passed,
    count(*) || ' exposures of clicked pairs' AS observed,
    'none' AS expected,
    list(day::VARCHAR || ' user ' || user_id || ' item ' || item_id ORDER BY day, user_id, item_id)[:5] AS sample
FROM wrong
