"""The two ways a command ends without a result; `main.py` prints one line for each."""


class Refused(ValueError):
    """The command asks for something that cannot be: exit status 2, nothing is written.

    The message is one line that names the value and the choices.
    """


class RunFailed(RuntimeError):
    """A run that had begun could not be finished (diverged, disk full, ...): exit status 1."""
