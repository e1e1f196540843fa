-- Every item of a history was clicked by the same user strictly before the click of the pair.
WITH
history_entries AS (
    SELECT user_id, item_id, clicked_at, unnest(history) AS past_item
    FROM training_pairs
    WHERE day BETWEEN $first_day AND $last_day
),
first_clicks AS (
    SELECT user_id, item_id, min(shown_at) AS first_click
    FROM impressions
    WHERE clicked AND day BETWEEN greatest($first_day - ($window_days - 1), $first_partition) AND $last_day
    GROUP BY user_id, item_id
),
wrong AS (
    SELECT history_entries.*
    FROM history_entries
    LEFT JOIN first_clicks
        ON first_clicks.user_id = history_entries.user_id
        AND first_clicks.item_id = history_entries.past_item
    WHERE first_click IS NULL OR first_click >= clicked_at
)
SELECT
    count(*) = 0 AS passed,
    count(*) || ' history entries that are not in the past' AS observed,
    'none' AS expected,
    list('user ' || user_id || ' at ' || clicked_at || ' has ' || past_item)[:5] AS sample
FROM wrong
