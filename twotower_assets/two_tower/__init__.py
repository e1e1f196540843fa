"""The two-tower model in PyTorch and Numba: data, sampling, towers, loss, optimiser, training, checkpoints.

Here: everything between Arrow tables of training pairs and a checkpoint folder. Not here: Dagster, the lake, vector
indexes, ranking metrics. This file imports nothing, so that loading the definitions does not load torch.
"""
