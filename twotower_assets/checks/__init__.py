"""Checks: Great Expectations suites over the tables, gates on features, models and indexes, as Dagster asset checks."""
