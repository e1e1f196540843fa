-- Text that can be kept: DuckLake cannot read statistics with a character of code 0.
CREATE OR REPLACE TEMP MACRO kept_text(value) AS replace(source_text(value), chr(0), chr(65533));
