"""The base class of errors that the user can fix.

Each error is declared in the package that raises it. The command line prints its message, and an asset fails with it,
both without a stack trace.
"""


class ExpectedError(Exception):
    """An error that the user can fix; the message says what was expected, what was found, and what to do."""
