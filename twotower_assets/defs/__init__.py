"""Everything that imports Dagster: assets, checks, jobs, schedules, partitions, publishing.

What the assets compute is in the other folders.
"""
