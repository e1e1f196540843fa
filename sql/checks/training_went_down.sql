-- The loss of every epoch is finite, and no later loss is above that of the first epoch.
WITH
losses AS (
    SELECT day, epoch, loss, first_value(loss) OVER (PARTITION BY day ORDER BY epoch) AS first_loss
    FROM training_curves
    WHERE day BETWEEN $first_day AND $last_day
),
wrong AS (
    FROM losses
    WHERE NOT isfinite(loss) OR loss > first_loss
)
SELECT
    count(*) = 0 AS passed,
    count(*) || ' epochs of ' || (SELECT count(*) FROM losses)
    || ' with a loss that is not finite or above the first' AS observed,
    'every loss finite, and none above that of the first epoch' AS expected,
    list(day::VARCHAR || ' epoch ' || epoch || ': ' || loss ORDER BY day, epoch)[:5] AS sample
FROM wrong
