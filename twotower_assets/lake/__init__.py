"""The lake: declared DuckLake tables, replacement of whole partitions, snapshots, and the artifact store."""
