"""The error of this room; what raises it says what to change."""


class ItemIndexError(ValueError):
    """An index cannot be built, searched, saved or loaded as asked; the message says what to change."""
