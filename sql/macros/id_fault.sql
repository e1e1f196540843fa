-- Why `source_id` gives no id that can be kept, after the name of its column; NULL where it does.
CREATE OR REPLACE TEMP MACRO id_fault(value) AS
    CASE
        WHEN source_id(value) IS NULL THEN
            CASE
                WHEN trim(value::VARCHAR) = '' OR value IS NULL OR isnan(TRY_CAST(value AS DOUBLE)) THEN ' is missing'
                WHEN typeof(value) = 'JSON' AND source_text(value) IS NULL THEN ' is missing'
                WHEN typeof(value) = 'JSON' AND trim(source_text(value)) = '' THEN ' is missing'
                WHEN typeof(value) = 'BLOB' THEN ' is no text in UTF-8'
                WHEN abs(TRY_CAST(value AS DOUBLE)) >= 9007199254740992 AND isfinite(TRY_CAST(value AS DOUBLE))
                    THEN ' is a float above 2^53, which is not exact'
                ELSE ' is no whole number'
            END
        WHEN contains(source_id(value), chr(0)) THEN ' holds a character of code 0'
        WHEN length(source_id(value)) > 1000 THEN ' has more than 1,000 characters'
    END;
