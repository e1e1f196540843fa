-- The features of items and of users: the columns of the catalogues that are not in the data contract, where some row has
-- a value of them.
SELECT
    'item' AS side,
    EXISTS (FROM items) AS has_rows,
    (SELECT list(DISTINCT key) FROM (SELECT unnest(map_keys(features)) AS key FROM items)) AS keys
UNION ALL
SELECT
    'user',
    EXISTS (FROM users),
    (SELECT list(DISTINCT key) FROM (SELECT unnest(map_keys(features)) AS key FROM users))
