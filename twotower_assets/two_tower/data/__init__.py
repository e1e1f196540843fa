"""What towers are trained on: vocabularies, features, histories, the training set."""
