"""The assets, a file per group: what Dagster shows of them, and one call into the room that does the work."""
