"""The training run: a step, epochs, early stopping, resuming.

The loss is in `loss`, the optimiser in `optim`; finished models are saved by `checkpoint.py`.
"""
