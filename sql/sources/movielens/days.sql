-- The log is closed: 215 days, two of them without a rating.
SELECT DATE '1997-09-20' AS first_day, DATE '1998-04-22' AS last_day
