-- Coverage@20 is at least the floor, and at least the configured share of the champion's.
WITH
challenger_metric AS (
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
champion_metric AS (
    SELECT max(other_value) AS champion_value
    FROM staged_version_comparisons
    WHERE metric = 'coverage' AND k = 20 AND bucket = 'all'
),
evaluated AS (
    SELECT
        -- DuckDB orders NaN above every number; here it counts as not measured.
        if(isfinite(value), value, NULL) AS value,
        champion_value,
        greatest($minimum_coverage, coalesce($minimum_kept_of_champion * champion_value, 0)) AS minimum
    FROM challenger_metric, champion_metric
)
SELECT
    coalesce(value >= minimum, minimum = 0) AS passed,
    coalesce('coverage@20 of ' || round(value, 4), 'nothing measured at the served γ')
    || coalesce(' against the champion''s ' || round(champion_value, 4), '') AS observed,
    'at least ' || round(minimum, 4)
    || if(
        minimum = $minimum_coverage,
        ', the floor',
        printf(', %g %% of the champion''s', 100 * $minimum_kept_of_champion)
    ) AS expected,
    [] AS sample
FROM evaluated
