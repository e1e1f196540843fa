"""The assets, a file a group: what Dagster shows of them, and one call into the room that does the work."""
