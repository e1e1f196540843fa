-- Items of the log that are not in the catalogue, for each day; with the item of the catalogue that was probably meant.
-- Ids are compared in several plain forms. The first form in which an orphan equals an item of the catalogue tells in
-- what the two differ.
WITH
orphans AS (
    SELECT day, item_id, count(*) AS impressions, count(*) FILTER (clicked) AS clicks
    FROM impressions
    ANTI JOIN items USING (item_id)
    WHERE day BETWEEN $first_day AND $last_day
    GROUP BY day, item_id
),
ids AS (
    SELECT DISTINCT item_id, TRUE AS is_orphan FROM orphans
    UNION ALL
    SELECT item_id, FALSE FROM items WHERE EXISTS (FROM orphans)
),
forms AS (
    SELECT
        item_id,
        is_orphan,
        unnest([
            {'rank': 1, 'cause': 'leading zeros', 'form': ltrim(item_id, '0')},
            {'rank': 2, 'cause': 'a trailing .0', 'form': regexp_replace(item_id, '\.0+$', '')},
            {'rank': 3, 'cause': 'upper and lower case', 'form': lower(item_id)},
            {'rank': 4, 'cause': 'spaces', 'form': regexp_replace(item_id, '[\s\p{Z}]+', '', 'g')},
            {'rank': 5, 'cause': 'punctuation', 'form': regexp_replace(lower(item_id), '[^\p{L}\p{N}]+', '', 'g')}
        ], recursive := true)
    FROM ids
),
listed AS (
    SELECT rank, form, min(item_id) AS catalogue_item_id
    FROM forms
    WHERE NOT is_orphan
    GROUP BY rank, form
),
meant AS (
    SELECT forms.item_id, arg_min({'cause': cause, 'catalogue_item_id': catalogue_item_id}, rank) AS found
    FROM forms
    JOIN listed USING (rank, form)
    WHERE forms.is_orphan AND form != ''
    GROUP BY forms.item_id
)
SELECT
    orphans.day,
    orphans.item_id,
    orphans.impressions,
    orphans.clicks,
    meant.found.cause AS likely_cause,
    meant.found.catalogue_item_id AS catalogue_item_id
FROM orphans
LEFT JOIN meant USING (item_id)
ORDER BY day, impressions DESC, item_id
