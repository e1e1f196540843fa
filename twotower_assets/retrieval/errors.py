"""The error of this room; what raises it says what to change."""

from twotower_assets.core.errors import ExpectedError


class ItemIndexError(ExpectedError, ValueError):
    """An index cannot be built, searched, saved or loaded as asked; the message says what to change."""
