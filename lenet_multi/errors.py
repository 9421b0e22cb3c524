"""Errors that a user can cause, told in one line."""


class UserError(Exception):
    """What was given, what was expected, what to do: one line, without the leading `error:`.

    The commands print it to standard error as `error: ...` and exit with status 2; in Python it is raised.
    """
