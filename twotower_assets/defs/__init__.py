"""Everything that imports Dagster: assets, checks, jobs, schedules, partitions, publishing.

What is computed lives in the other rooms.
"""
