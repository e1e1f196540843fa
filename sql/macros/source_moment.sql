-- A moment in UTC. Text may have an offset; without one it is UTC.
CREATE OR REPLACE TEMP MACRO source_moment(value) AS
    CASE
        WHEN starts_with(typeof(value), 'TIMESTAMP') OR typeof(value) = 'DATE' THEN TRY_CAST(value AS TIMESTAMP)
        WHEN typeof(value) IN ('VARCHAR', 'JSON') THEN coalesce(
            TRY_CAST(source_text(value) AS TIMESTAMPTZ) AT TIME ZONE 'UTC',
            -- without seconds
            TRY_CAST(
                regexp_replace(source_text(value), '([ T]\d\d?:\d\d)(Z|[+-]\d\d(:?\d\d)?)?$', '\1:00\2') AS TIMESTAMPTZ
            ) AT TIME ZONE 'UTC',
            moment_of_epoch(source_text(value))
        )
        ELSE moment_of_epoch(value)
    END;
