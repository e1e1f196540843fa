"""The user tower and the item tower: embedding tables, residual MLPs, and their gradients.

What they read is in `data`, the loss is in `loss`, and how gradients update weights is in `optim`.
"""
