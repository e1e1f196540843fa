-- Text as its owner sees it: JSON without its quotes, bytes as UTF-8.
CREATE OR REPLACE TEMP MACRO source_text(value) AS
    CASE
        WHEN typeof(value) = 'JSON' THEN TRY_CAST(value::VARCHAR AS JSON) ->> '$'
        WHEN typeof(value) = 'BLOB' THEN try(decode(TRY_CAST(value AS BLOB)))
        ELSE value::VARCHAR
    END;
