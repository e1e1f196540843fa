-- Which categories the top-20 lists of a version reach, at the γ that was served when its report was made.
-- arguments: version: the model version of a day's newest report; a version rebuilt since has lost its rows to the
--   newer.
-- gives: category, items, items_recommended, coverage (their ratio), exposure_share, click_share, exposure_per_click
--   (null in a category without clicks); the most clicked category first.
-- errors: a null version, a version without a report in the lake.
-- example: FROM coverage_of((SELECT model_version FROM champion))
CREATE OR REPLACE MACRO lake.main.coverage_of(version) AS TABLE
WITH
-- Arguments are put here once, under names that no column passed as an argument has.
given AS (SELECT version::VARCHAR AS _wanted),
asked AS (
    SELECT
        CASE
            WHEN given._wanted IS NULL THEN error('coverage_of: expected a model version, found null')
            WHEN NOT EXISTS (FROM lake.main.category_coverage AS known WHERE known.model_version = given._wanted)
                THEN error(
                    'coverage_of: there is no report on the version ''' || given._wanted
                    || '''; those there are: '
                    || coalesce(
                        (
                            SELECT string_agg(DISTINCT known.model_version, ', ')
                            FROM lake.main.category_coverage AS known
                        ),
                        'none yet'
                    )
                )
            ELSE given._wanted
        END AS model_version
    FROM given
)
SELECT
    reached.category,
    reached.items,
    reached.items_recommended,
    reached.items_recommended / nullif(reached.items, 0) AS coverage,
    reached.exposure_share,
    reached.click_share,
    reached.exposure_share / nullif(reached.click_share, 0) AS exposure_per_click
FROM asked
JOIN lake.main.category_coverage AS reached ON reached.model_version = asked.model_version
-- The last branch gives no row: it has the question judged where there is nothing to join it with.
UNION ALL BY NAME
SELECT NULL::VARCHAR AS category FROM asked WHERE asked.model_version IS NULL
ORDER BY click_share DESC, category
