"""Two-tower retrieval as Dagster assets: from exposure logs to towers, embeddings, an index and a popularity report."""
