-- Every source row, with its types converted and the reason for its rejection (null if it is accepted).
-- Of rows with the same user, item and timestamp one is accepted, a clicked one if there is any.
WITH
with_optional_columns AS (
    FROM source_rows
    UNION ALL BY NAME
    SELECT *
    FROM (
        SELECT
            NULL::VARCHAR AS request_id,
            NULL::VARCHAR AS context,
            NULL::INTEGER AS position,
            NULL::DOUBLE AS weight
    )
    WHERE false
),
typed AS (
    SELECT
        nullif(trim(user_id::VARCHAR), '') AS user_id,
        nullif(trim(item_id::VARCHAR), '') AS item_id,
        -- Casting text to TIMESTAMP would drop its offset. The session's time zone is UTC.
        CASE
            WHEN typeof(shown_at) = 'VARCHAR' THEN TRY_CAST(shown_at AS TIMESTAMPTZ) AT TIME ZONE 'UTC'
            ELSE TRY_CAST(shown_at AS TIMESTAMP)
        END AS shown_at,
        TRY_CAST(clicked AS BOOLEAN) AS clicked,
        request_id::VARCHAR AS request_id,
        context::VARCHAR AS context,
        TRY_CAST(position AS INTEGER) AS position,
        TRY_CAST(weight AS DOUBLE) AS weight,
        user_id::VARCHAR AS user_id_found,
        item_id::VARCHAR AS item_id_found,
        shown_at::VARCHAR AS shown_at_found,
        clicked::VARCHAR AS clicked_found
    FROM with_optional_columns
),
validated AS (
    SELECT
        *,
        CASE
            WHEN user_id IS NULL THEN 'user_id is missing'
            WHEN item_id IS NULL THEN 'item_id is missing'
            WHEN shown_at IS NULL THEN 'shown_at is missing or no timestamp'
            WHEN clicked IS NULL THEN 'clicked is missing or neither true nor false'
            WHEN shown_at > $now THEN 'shown_at lies in the future'
            WHEN shown_at < $partition_start OR shown_at >= $partition_end THEN 'shown_at lies outside the partition'
            WHEN weight < 0 OR NOT isfinite(weight) THEN 'weight is negative or not finite'
        END AS fault
    FROM typed
)
SELECT
    CASE
        WHEN shown_at >= $partition_start AND shown_at < $partition_end THEN shown_at::DATE
        ELSE $partition_start::DATE
    END AS day,
    * EXCLUDE (fault),
    coalesce(
        fault,
        CASE
            WHEN row_number() OVER (
                PARTITION BY user_id, item_id, shown_at, fault
                ORDER BY clicked DESC, position NULLS LAST, context NULLS LAST, request_id NULLS LAST, weight NULLS LAST
            ) > 1 THEN 'repeats a user, item and moment'
        END
    ) AS reason
FROM validated
