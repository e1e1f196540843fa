-- The lists still reach enough of the catalogue: not less than the floor, nor than the set share of the champion's.
WITH
own AS (
    SELECT max(value) AS value
    FROM model_metrics
    WHERE
        model_version = $version
        AND model = 'two_tower'
        AND popularity_weight = $popularity_weight
        AND metric = 'coverage'
        AND k = 20
        AND bucket = 'all'
),
compared AS (
    SELECT max(other_value) AS champions
    FROM staged_version_comparisons
    WHERE metric = 'coverage' AND k = 20 AND bucket = 'all'
),
judged AS (
    SELECT
        -- NaN is greater than every number to DuckDB, and nothing that was measured.
        if(isfinite(value), value, NULL) AS value,
        champions,
        greatest($minimum_coverage, coalesce($minimum_kept_of_champion * champions, 0)) AS least
    FROM own, compared
)
SELECT
    coalesce(value >= least, least = 0) AS passed,
    coalesce('coverage@20 of ' || round(value, 4), 'nothing measured at the served γ')
    || coalesce(' against the champion''s ' || round(champions, 4), '') AS observed,
    'at least ' || round(least, 4)
    || if(least = $minimum_coverage, ', the floor', printf(', %g %% of the champion''s', 100 * $minimum_kept_of_champion)) AS wanted,
    [] AS sample
FROM judged
