"""The loss: a sampled softmax, and how a configuration's candidates, masks and corrections enter it.

What is sampled is in `sampling`, the vectors come from `towers`.
"""
