-- Columns outside the data contract are kept as text in `features`. Of rows with the same user one is accepted.
WITH typed AS (
    SELECT
        source_id(user_id) AS user_id,
        map_from_entries(
            list_filter(map_entries(other_columns), lambda entry: entry.value IS NOT NULL)
        ) AS features,
        'user_id' || id_fault(user_id) AS fault
    FROM contract_rows
)
SELECT
    * EXCLUDE (fault),
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN row_number() OVER (PARTITION BY user_id ORDER BY features::VARCHAR) > 1 THEN 'repeats a user'
    END AS reason
FROM typed
