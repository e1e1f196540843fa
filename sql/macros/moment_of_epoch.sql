-- A number of seconds, milliseconds, microseconds or nanoseconds since 1970. Its size tells them apart for every moment
-- from 1973 to 5138.
CREATE OR REPLACE TEMP MACRO moment_of_epoch(value) AS
    CASE
        WHEN abs(TRY_CAST(value AS DOUBLE)) >= 1e17
            THEN make_timestamp(TRY_CAST(TRY_CAST(value AS HUGEINT) // 1000 AS BIGINT))
        WHEN abs(TRY_CAST(value AS DOUBLE)) >= 1e14 THEN make_timestamp(TRY_CAST(value AS BIGINT))
        WHEN abs(TRY_CAST(value AS DOUBLE)) >= 1e11
            THEN make_timestamp(TRY_CAST(TRY_CAST(value AS DOUBLE) * 1e3 AS BIGINT))
        WHEN abs(TRY_CAST(value AS DOUBLE)) >= 1e8
            THEN make_timestamp(TRY_CAST(TRY_CAST(value AS DOUBLE) * 1e6 AS BIGINT))
    END;
