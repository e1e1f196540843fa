-- Every source row, with its types converted and the reason for its rejection (null if it is accepted). `contract_rows`
-- holds the columns of the data contract alone, so no name of a source's own column means anything here.
-- Of rows with the same user, item and timestamp one is accepted, a clicked one if there is any.
WITH
typed AS (
    SELECT
        source_id(user_id) AS user_id,
        source_id(item_id) AS item_id,
        source_moment(shown_at) AS shown_at,
        source_click(clicked) AS clicked,
        kept_text(request_id) AS request_id,
        kept_text(context) AS context,
        TRY_CAST(position AS INTEGER) AS position,
        TRY_CAST(weight AS DOUBLE) AS weight,
        'user_id' || id_fault(user_id) AS user_fault,
        'item_id' || id_fault(item_id) AS item_fault,
        left(kept_text(user_id), 1000) AS user_id_found,
        left(kept_text(item_id), 1000) AS item_id_found,
        left(kept_text(shown_at), 1000) AS shown_at_found,
        left(kept_text(clicked), 1000) AS clicked_found
    FROM contract_rows
),
validated AS (
    SELECT
        *,
        CASE
            WHEN user_fault IS NOT NULL THEN user_fault
            WHEN item_fault IS NOT NULL THEN item_fault
            WHEN shown_at IS NULL THEN 'shown_at is missing or no timestamp'
            WHEN clicked IS NULL THEN 'clicked is missing or neither true nor false'
            WHEN shown_at > $now THEN 'shown_at lies in the future'
            WHEN shown_at < $earliest THEN 'shown_at lies before the earliest day'
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
    * EXCLUDE (fault, user_fault, item_fault),
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
