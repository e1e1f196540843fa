"""The lake: DuckLake tables declared once, partitions replaced whole, snapshots, and the store of artifacts."""
