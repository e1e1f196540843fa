-- An id as text. Whole numbers in DOUBLE, DECIMAL or HUGEINT are the integer's text: one null in a column of integers
-- makes pandas write DOUBLE. Above 2^53 a DOUBLE is no longer exact.
CREATE OR REPLACE TEMP MACRO source_id(value) AS nullif(trim(
    CASE
        WHEN typeof(value) IN ('DOUBLE', 'FLOAT') THEN
            CASE
                WHEN isfinite(TRY_CAST(value AS DOUBLE))
                    AND TRY_CAST(value AS DOUBLE) = trunc(TRY_CAST(value AS DOUBLE))
                    AND abs(TRY_CAST(value AS DOUBLE)) < 9007199254740992
                    THEN TRY_CAST(TRY_CAST(value AS DOUBLE) AS BIGINT)::VARCHAR
            END
        WHEN starts_with(typeof(value), 'DECIMAL') THEN
            CASE WHEN regexp_full_match(value::VARCHAR, '-?\d+(\.0*)?') THEN split_part(value::VARCHAR, '.', 1) END
        ELSE source_text(value)
    END
), '');
