"""The error of the lake."""

from twotower_assets.core.errors import ExpectedError


class LakeError(ExpectedError, RuntimeError):
    """The lake cannot be opened, read or written; the message says what to do."""
