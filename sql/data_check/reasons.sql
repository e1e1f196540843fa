-- Why rows of the log would be rejected, with three of them as they were found.
SELECT
    reason,
    count(*) AS row_count,
    list(
        concat_ws(
            ', ',
            'user ' || user_id_found,
            'item ' || item_id_found,
            'at ' || shown_at_found,
            'clicked ' || clicked_found
        )
        ORDER BY shown_at_found, user_id_found, item_id_found
    )[:3] AS examples
FROM checked_impressions
WHERE reason IS NOT NULL
GROUP BY reason
ORDER BY row_count DESC, reason
