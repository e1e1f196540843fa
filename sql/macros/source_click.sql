-- A click: boolean, the numbers 0 and 1, and texts of these.
CREATE OR REPLACE TEMP MACRO source_click(value) AS
    CASE
        WHEN typeof(value) = 'BOOLEAN' THEN TRY_CAST(value AS BOOLEAN)
        WHEN TRY_CAST(source_text(value) AS DOUBLE) = 0 THEN false
        WHEN TRY_CAST(source_text(value) AS DOUBLE) = 1 THEN true
        WHEN TRY_CAST(source_text(value) AS DOUBLE) IS NULL THEN TRY_CAST(source_text(value) AS BOOLEAN)
    END;
