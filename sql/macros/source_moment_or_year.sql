-- A moment, or the first of a year.
CREATE OR REPLACE TEMP MACRO source_moment_or_year(value) AS
    coalesce(
        CASE
            WHEN regexp_full_match(trim(source_text(value)), '[12]\d{3}(\.0*)?')
                THEN make_timestamp(TRY_CAST(left(trim(source_text(value)), 4) AS BIGINT), 1, 1, 0, 0, 0)
        END,
        source_moment(value)
    );
