"""What is drawn for a batch: pairs, negatives, their proposals, and the masks of false negatives.

Everything here works on indices. Vectors and weights are in `towers`, the loss is in `loss`.
"""
