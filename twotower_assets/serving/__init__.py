"""Which version is served: versions, promotion, recommendations, reports."""
