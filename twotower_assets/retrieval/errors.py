"""The error of this package."""

from twotower_assets.core.errors import ExpectedError


class ItemIndexError(ExpectedError, ValueError):
    """An index cannot be built, searched, saved or loaded; the message says what to change."""
