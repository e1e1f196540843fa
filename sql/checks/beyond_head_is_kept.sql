-- The model still finds enough of the clicks on items that are not popular: not less than the floor, nor than the set
-- share of the champion's.
WITH
own AS (
    SELECT max(value) AS value
    FROM model_metrics
    WHERE
        model_version = $version
        AND model = 'two_tower'
        AND popularity_weight = $popularity_weight
        AND metric = 'recall'
        AND k = 20
        AND bucket = 'beyond_head'
),
compared AS (
    SELECT max(other_value) AS champions
    FROM staged_version_comparisons
    WHERE metric = 'recall' AND k = 20 AND bucket = 'beyond_head'
),
judged AS (
    SELECT
        -- NaN is greater than every number to DuckDB, and nothing that was measured.
        if(isfinite(value), value, NULL) AS value,
        champions,
        greatest($minimum_beyond_head_recall, coalesce($minimum_kept_of_champion * champions, 0)) AS least
    FROM own, compared
)
SELECT
    coalesce(value >= least, least = 0) AS passed,
    coalesce('recall@20 beyond the head of ' || round(value, 4), 'nothing measured at the served γ')
    || coalesce(' against the champion''s ' || round(champions, 4), '') AS observed,
    'at least ' || round(least, 4)
    || if(least = $minimum_beyond_head_recall, ', the floor', printf(', %g %% of the champion''s', 100 * $minimum_kept_of_champion)) AS wanted,
    [] AS sample
FROM judged
