"""Numbers, lists and paths, as people read them."""

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath, PureWindowsPath

from ppocli.errors import one_line

NOTHING = "–"  # where there is nothing to say


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


def mean_return(value: float | None) -> str:
    """Return a return as screens have room for it, a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:z,.1f}" if abs(value) < 1e7 else f"{value:.3e}"


def short_count(count: int) -> str:
    """Return how many of something there are, in three or four characters."""
    if count < 1_000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.1f}M"


def ago(moment: str) -> str:
    """Return how long ago a moment was, in the largest unit that fits."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"


def percent(share: float | None) -> str:
    """Return a share, or a dash where there is none."""
    return "-" if share is None else f"{share:.1%}"


def clock(seconds: float) -> str:
    """Return seconds as clocks show them."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def span(numbers: Iterable[float], words: Callable[[float], str]) -> str:
    """Return the lowest and the highest number, or the only one, in the words that a function has for them."""
    ordered = sorted(numbers)
    lowest, highest = words(ordered[0]), words(ordered[-1])
    return lowest if lowest == highest else f"{lowest} to {highest}"


def listed(words: Sequence[str]) -> str:
    """Return a list as sentences have it."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def interval(bounds: tuple[float, float] | None) -> str:
    """Return the ends of an interval, or a dash where a single sample allows none."""
    return NOTHING if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"


def without_folders(text: str) -> str:
    """Return one line, with files but not the folders of this machine that they lie in."""
    return re.sub(r"(?<![\w.…])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\"<>]+[/\\])+", "…/", one_line(text))


def command_line(command: Sequence[str]) -> str:
    """Return a command as it can be pasted into a shell, with its files' names but not the folders of this machine."""
    words = ["ppocli"]
    for argument in command[1:]:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        if PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute():
            value = PureWindowsPath(value).name  # which knows both kinds of slashes
        words.append(one_line(f"{option}{equals}{value}"))
    return shlex.join(words)
