-- Exposure share of each popularity bucket in the top-20 lists of a day's report: of the day's model at every γ, and of
-- the baselines. The table of the same name holds all days.
-- arguments: day: the day of a report.
-- gives: model_version, model, popularity_weight (null for baselines), bucket, exposure_share, click_share,
--   catalogue_share, and exposure_per_click: exposure_share over click_share, null in a bucket without clicks.
-- errors: a null day, a day without a report.
-- example: FROM exposure_by_bucket((SELECT model_day FROM champion))
CREATE OR REPLACE MACRO lake.main.exposure_by_bucket(day) AS TABLE
WITH
-- Arguments are renamed once, so that they cannot clash with a column of the same name passed by the caller.
arguments AS (SELECT day::DATE AS _day),
validated AS (
    SELECT
        CASE
            WHEN arguments._day IS NULL THEN error('exposure_by_bucket: expected a day, found null')
            WHEN NOT EXISTS (FROM lake.main.exposure_by_bucket AS known WHERE known.day = arguments._day)
                THEN error(
                    'exposure_by_bucket: there is no report for ' || arguments._day || '; days with a report: '
                    || coalesce(
                        (
                            SELECT string_agg(DISTINCT known.day::VARCHAR, ', ')
                            FROM lake.main.exposure_by_bucket AS known
                        ),
                        'none yet'
                    )
                )
            ELSE arguments._day
        END AS report_day
    FROM arguments
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
    FROM validated
    JOIN lake.main.exposure_by_bucket AS shares ON shares.day = validated.report_day
    -- This branch returns no row. It makes DuckDB check the arguments where the join is empty.
    UNION ALL BY NAME
    SELECT NULL::VARCHAR AS model FROM validated WHERE validated.report_day IS NULL
)
FROM answer
ORDER BY model DESC, popularity_weight, list_position(['head', 'mid', 'tail', 'cold'], bucket)
