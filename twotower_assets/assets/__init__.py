"""The asset graph: what depends on what, with which partitions and metadata. No arithmetic."""
