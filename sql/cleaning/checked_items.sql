-- Columns outside the data contract are kept as text in `features`. Of rows with the same item one is accepted.
WITH typed AS (
    SELECT
        source_id(item_id) AS item_id,
        coalesce(nullif(trim(kept_text(category)), ''), categories[-1], 'unknown') AS category,
        nullif(categories, []) AS categories,
        kept_text(title) AS title,
        source_moment_or_year(published_at) AS published_at,
        map_from_entries(
            list_filter(map_entries(other_columns), lambda entry: entry.value IS NOT NULL)
        ) AS features,
        'item_id' || id_fault(item_id) AS fault
    FROM contract_rows
)
SELECT
    * EXCLUDE (fault),
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN row_number() OVER (PARTITION BY item_id ORDER BY category, title, published_at, features::VARCHAR) > 1
            THEN 'repeats an item'
    END AS reason
FROM typed
