-- Columns outside the data contract are kept as text in `features`. Of rows with the same user one is accepted.
WITH typed AS (
    SELECT
        nullif(trim(user_id::VARCHAR), '') AS user_id,
        map_from_entries(
            list_filter(
                map_entries(from_json(to_json(source_rows), '"MAP(VARCHAR, VARCHAR)"')),
                lambda entry: entry.value IS NOT NULL AND entry.key != 'user_id'
            )
        ) AS features
    FROM source_rows
)
SELECT
    *,
    CASE
        WHEN user_id IS NULL THEN 'user_id is missing'
        WHEN row_number() OVER (PARTITION BY user_id ORDER BY features::VARCHAR) > 1 THEN 'repeats a user'
    END AS reason
FROM typed
