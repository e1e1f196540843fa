-- Coverage of each category by the top-20 lists of a version, at the γ that was served when its report was made.
-- arguments: version: a model version with a report. Each day keeps only the rows of its newest report.
-- gives: category, items, items_recommended, coverage (their ratio), exposure_share, click_share, exposure_per_click
--   (null in a category without clicks); the most clicked category first.
-- errors: a null version, a version without a report in the lake.
-- example: FROM coverage_of((SELECT model_version FROM champion))
CREATE OR REPLACE MACRO lake.main.coverage_of(version) AS TABLE
WITH
-- Arguments are renamed once, so that they cannot clash with a column of the same name passed by the caller.
arguments AS (SELECT version::VARCHAR AS _version),
validated AS (
    SELECT
        CASE
            WHEN arguments._version IS NULL THEN error('coverage_of: expected a model version, found null')
            WHEN NOT EXISTS (FROM lake.main.category_coverage AS known WHERE known.model_version = arguments._version)
                THEN error(
                    'coverage_of: there is no report on version ''' || arguments._version
                    || '''; versions with a report: '
                    || coalesce(
                        (
                            SELECT string_agg(DISTINCT known.model_version, ', ')
                            FROM lake.main.category_coverage AS known
                        ),
                        'none yet'
                    )
                )
            ELSE arguments._version
        END AS model_version
    FROM arguments
)
SELECT
    reported.category,
    reported.items,
    reported.items_recommended,
    reported.items_recommended / nullif(reported.items, 0) AS coverage,
    reported.exposure_share,
    reported.click_share,
    reported.exposure_share / nullif(reported.click_share, 0) AS exposure_per_click
FROM validated
JOIN lake.main.category_coverage AS reported ON reported.model_version = validated.model_version
-- The last branch returns no row. It makes DuckDB check the arguments where the join is empty.
UNION ALL BY NAME
SELECT NULL::VARCHAR AS category FROM validated WHERE validated.model_version IS NULL
ORDER BY click_share DESC, category
