"""The training itself: a step, epochs, early stopping, resuming."""
