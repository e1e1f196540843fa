-- The challenger's recall@20 is not lower than the champion's by more than the allowed share: the lower bound of the
-- paired interval of the difference is above the largest allowed loss.
WITH compared AS (
    SELECT value, other_value, difference, low, high, -$maximum_recall_loss * other_value AS allowed_loss
    FROM staged_version_comparisons
    WHERE metric = 'recall' AND k = 20 AND bucket = 'all'
)
SELECT
    coalesce(bool_and(coalesce(isfinite(low) AND low >= allowed_loss, false)), true) AS passed,
    coalesce(
        'recall@20 of ' || any_value(round(value, 4)) || ', that is ' || any_value(printf('%+.4f', difference))
        || coalesce(' [' || any_value(printf('%+.4f', low)) || ', ' || any_value(printf('%+.4f', high)) || ']', '')
        || ' against the champion''s ' || any_value(round(other_value, 4)),
        'no champion of another version to compare with'
    ) AS observed,
    'the whole interval'
    || coalesce(' at least ' || any_value(printf('%+.4f', allowed_loss)), ' above the allowed loss')
    || printf(', %g %% of the champion''s recall', 100 * $maximum_recall_loss) AS expected,
    [] AS sample
FROM compared
