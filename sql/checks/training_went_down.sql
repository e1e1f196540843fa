-- Every epoch's loss is a finite number, and no later one is above the first.
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
    count(*) || ' epochs of ' || (SELECT count(*) FROM losses) || ' are otherwise' AS observed,
    'every loss finite, and none above that of the first epoch' AS wanted,
    list(day::VARCHAR || ' epoch ' || epoch || ': ' || loss ORDER BY day, epoch)[:5] AS sample
FROM wrong
