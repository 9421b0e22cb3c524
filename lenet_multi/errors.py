"""The base class of errors that a user can cause."""


class UserError(Exception):
    """An error whose message says in one line what is wrong and what to do.

    The commands print it to standard error as `error: ...` and exit with status 2. In Python it is raised.
    """
