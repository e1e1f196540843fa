-- Columns outside the data contract are kept as text in `features`. Of rows with the same item one is accepted.
WITH
with_optional_columns AS (
    FROM source_rows
    UNION ALL BY NAME
    SELECT *
    FROM (
        SELECT
            NULL::VARCHAR AS category,
            NULL::VARCHAR[] AS categories,
            NULL::VARCHAR AS title,
            NULL::TIMESTAMP AS published_at
    )
    WHERE false
),
typed AS (
    SELECT
        nullif(trim(item_id::VARCHAR), '') AS item_id,
        coalesce(nullif(trim(category::VARCHAR), ''), categories[-1], 'unknown') AS category,
        nullif(categories, []) AS categories,
        title::VARCHAR AS title,
        TRY_CAST(published_at AS TIMESTAMP) AS published_at,
        map_from_entries(
            list_filter(
                map_entries(from_json(to_json(with_optional_columns), '"MAP(VARCHAR, VARCHAR)"')),
                lambda entry: entry.value IS NOT NULL
                    AND entry.key NOT IN ('item_id', 'category', 'categories', 'title', 'published_at')
            )
        ) AS features
    FROM with_optional_columns
)
SELECT
    *,
    CASE
        WHEN item_id IS NULL THEN 'item_id is missing'
        WHEN row_number() OVER (PARTITION BY item_id ORDER BY category, title, published_at, features::VARCHAR) > 1
            THEN 'repeats an item'
    END AS reason
FROM typed
