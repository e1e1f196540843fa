-- How many rows every source and feature has; of tables with days, those from $first_day to $last_day.
SELECT 'impressions' AS name, count(*) AS row_count FROM impressions WHERE day BETWEEN $first_day AND $last_day
UNION ALL
SELECT 'items' AS name, count(*) AS row_count FROM items
UNION ALL
SELECT 'users' AS name, count(*) AS row_count FROM users
UNION ALL
SELECT 'item_frequency' AS name, count(*) AS row_count FROM item_frequency WHERE day BETWEEN $first_day AND $last_day
UNION ALL
SELECT 'exposure_log' AS name, count(*) AS row_count FROM exposure_log WHERE day BETWEEN $first_day AND $last_day
UNION ALL
SELECT 'training_pairs' AS name, count(*) AS row_count FROM training_pairs WHERE day BETWEEN $first_day AND $last_day
