"""What all errors of the platform have in common that a person can do something about.

Each is declared in the room that raises it. What becomes of it is decided by those who catch it: the command line
prints its message, and an asset fails with its message, without a stack trace.
"""


class ExpectedError(Exception):
    """Something foreseen is not as it must be; the message says what was found, and what to do."""
