"""Which model version is served: versions, promotion, recommendations, reports."""
