"""How gradients update weights: row-wise Adam, and a moving average of the weights.

The gradients come from `towers` and `loss`, the training step is in `training`.
"""
