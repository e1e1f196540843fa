"""What a training may be told: configuration, negatives, the shipped recipes and their documentation. No torch."""
