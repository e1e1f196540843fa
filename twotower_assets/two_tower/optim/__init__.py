"""How gradients become weights: row-wise Adam and the average of weights."""
