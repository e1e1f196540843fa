"""What is drawn for a batch: pairs, negatives, their proposals and masks. Nothing here knows weights."""
