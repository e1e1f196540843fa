"""What goes wrong with a lake, for those who open it and those who catch it."""


class LakeError(RuntimeError):
    """The lake cannot be opened, read or written; the message says what to do."""
