"""Numbers, lists and paths, as people read them."""

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from ppocli.errors import one_line
from ppocli.estimates import Estimate, interval

NOTHING = "–"
"""Stands where there is nothing to say."""


def number(value: float) -> str:
    """Return a return, or another number of its kind."""
    return f"{value:,.1f}".replace("-", "−")


def plain(value: float) -> str:
    """Return a number with as few digits as it has."""
    return f"{value:,g}".replace("-", "−")


def count(value: float) -> str:
    """Return how many of something there are."""
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def span(numbers: Iterable[float], words: Callable[[float], str]) -> str:
    """Return the lowest and the highest number, or the only one, in the words that a function has for them."""
    ordered = sorted(numbers)
    lowest, highest = words(ordered[0]), words(ordered[-1])
    return lowest if lowest == highest else f"{lowest} to {highest}"


def listed(words: Sequence[str]) -> str:
    """Return a list as sentences have it."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def interval_of(samples: Sequence[float], estimate: Estimate) -> str:
    """Return the 95 % interval of an estimate, or a dash where a single sample allows none."""
    found = interval(np.asarray(samples, dtype=np.float64), estimate)
    return NOTHING if found is None else f"{number(found[0])} to {number(found[1])}"


def without_folders(text: str) -> str:
    """Return one line, with files but not the folders of this machine that they lie in."""
    return re.sub(r"(?<![\w.…])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\"<>]+[/\\])+", "…/", one_line(text))


def command_line(command: Sequence[str]) -> str:
    """Return a command as it can be pasted into a shell, with its files' names but not the folders of this machine."""
    return shlex.join(["ppocli", *map(_argument, command[1:])])


def _argument(argument: str) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute():
        value = PureWindowsPath(value).name  # which knows both kinds of slashes
    return one_line(f"{option}{equals}{value}")


def folder(path: Path) -> str:
    """Return the name of a folder, without those that it lies in."""
    return one_line(path.absolute().name)
