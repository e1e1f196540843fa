-- Who gets the exposure in the top-20 lists that a day's report measured: the day's model at every γ, and the
-- baselines. The table of the same name holds all days.
-- arguments: day: the day of a report.
-- gives: model_version, model, popularity_weight (null for baselines), bucket, exposure_share, click_share,
--   catalogue_share, and exposure_per_click: exposure_share over click_share, null in a bucket without clicks.
-- errors: a null day, a day without a report.
-- example: FROM exposure_by_bucket((SELECT model_day FROM champion))
CREATE OR REPLACE MACRO lake.main.exposure_by_bucket(day) AS TABLE
WITH
-- Arguments are put here once, under names that no column passed as an argument has.
given AS (SELECT day::DATE AS _wanted),
asked AS (
    SELECT
        CASE
            WHEN given._wanted IS NULL THEN error('exposure_by_bucket: expected a day, found null')
            WHEN NOT EXISTS (FROM lake.main.exposure_by_bucket AS known WHERE known.day = given._wanted)
                THEN error(
                    'exposure_by_bucket: there is no report of ' || given._wanted || '; those there are: '
                    || coalesce(
                        (
                            SELECT string_agg(DISTINCT known.day::VARCHAR, ', ')
                            FROM lake.main.exposure_by_bucket AS known
                        ),
                        'none yet'
                    )
                )
            ELSE given._wanted
        END AS reported
    FROM given
),
answer AS (
    SELECT
        shares.model_version,
        shares.model,
        shares.popularity_weight,
        shares.bucket,
        shares.exposure_share,
        shares.click_share,
        shares.catalogue_share,
        shares.exposure_share / nullif(shares.click_share, 0) AS exposure_per_click
    FROM asked
    JOIN lake.main.exposure_by_bucket AS shares ON shares.day = asked.reported
    -- This branch gives no row: it has the question judged where there is nothing to join it with.
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS model FROM asked WHERE asked.reported IS NULL
)
FROM answer
ORDER BY model DESC, popularity_weight, list_position(['head', 'mid', 'tail', 'cold'], bucket)
