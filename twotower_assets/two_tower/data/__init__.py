"""What the towers are trained on: vocabularies, features, histories, item sets, the training set.

Everything here is an array or an Arrow table. Sampling is in `sampling`, tensors and weights are in `towers`.
"""
