"""Training configurations: hyperparameters, sources of negatives, the shipped recipes, and their documentation.

No torch here: how a recipe is trained is in `two_tower`.
"""
