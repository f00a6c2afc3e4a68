"""The errors a user can act on. The command prints their message as one line and exits with their code."""

import warnings

_LONGEST_LINE = 1500


class PpocliError(Exception):
    """Something went wrong that the user can act on; the message says what, where, and what would fix it.

    `frames` is the traceback as far as it is of the user's own code, to stand above the message; empty without any.
    """

    exit_code = 1

    def __init__(self, message: str, frames: str = "") -> None:
        super().__init__(message)
        self.frames = frames


class PpocliWarning(UserWarning):
    """Something is not as it should be, and goes on all the same. The command prints its message as one line."""


def warn(message: str) -> None:
    """Give a PpocliWarning; the command shows the same one once."""
    warnings.warn(message, PpocliWarning, stacklevel=3)


class UsageError(PpocliError):
    """A wrong option, config file, preset, `--set` or environment id."""

    exit_code = 2


class CheckpointError(PpocliError):
    """A file that is not a checkpoint of ours, or one that is damaged."""


class RunError(PpocliError):
    """A run that does not exist, has no checkpoint, or cannot be made."""


class NonFiniteError(PpocliError):
    """An environment gave, or training came to, a number that is not finite."""


class ReplayError(PpocliError):
    """An environment that does not come to the same state again by the same seed and the same actions."""


def one_line(text: str) -> str:
    """Return text as a terminal can be trusted with: whatever a file put into it, it neither steers nor fills it."""
    line = "".join(character if character.isprintable() else " " for character in text.strip())
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …"
