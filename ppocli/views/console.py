"""The two streams of a terminal: progress, warnings and errors go to stderr, results to stdout."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

from ppocli.errors import one_line
from ppocli.files import to_json
from ppocli.guests import IMPORTED


class _Console(Console):
    """A console whose reader may leave: what nobody reads must not end what is at work."""

    def on_broken_pipe(self) -> None:
        """Say nothing from now on."""
        self.quiet = True
        # Python itself still flushes the stream at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


out = _Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = _Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
began_in: Path | None = None  # the working directory in which the command began, wherever an environment has gone since


def from_here(message: str) -> str:
    """Return one line, in which what lies below the working directory is named from there."""
    line = one_line(message)
    return line.replace(f"{began_in}{os.sep}", "") if began_in else line


def info(line: str) -> None:
    """Say something about the command's progress."""
    with suppress(OSError):
        err.print(from_here(line))


def working(what: str) -> AbstractContextManager[Status | None]:
    """Say in a terminal what is being done, for as long as the block takes."""
    return err.status(what) if err.is_terminal else nullcontext()


@contextmanager
def counting(episodes: int) -> Iterator[Callable[[int], object]]:
    """Say in a terminal how many of so many episodes have been played, for as long as the block takes."""
    with working(f"Playing {episodes:,} episodes") as status:

        def tell(played: int) -> None:
            if status:
                status.update(f"Playing {episodes:,} episodes: {played:,}")

        yield tell


def as_json(result: Any) -> None:
    """Print a result as one JSON object."""
    out.file.write(to_json(result) + "\n")
    out.file.flush()


def short_path(path: Path) -> str:
    """Return a path relative to the working directory where it lies below it."""
    here = began_in or Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def command(*words: str) -> str:
    """Return a command to be pasted: with what was imported here, which it needs, too."""
    return " ".join(["ppocli", *words, *(f"--import {shlex.quote(known.name)}" for known in IMPORTED)])


def shell_path(path: Path) -> str:
    """Return `short_path` as it can be pasted into a shell."""
    return shlex.quote(short_path(path))


def shell_paths(paths: Sequence[Path]) -> str:
    """Return paths as they can be pasted into a shell, with a `*` where that means just these."""
    first, beginning = paths[0], os.path.commonprefix([path.name for path in paths])  # noqa: RUF071 - names, not paths
    if len(paths) > 1 and set(first.parent.glob(f"{beginning}*")) == set(paths):
        return f"{shell_path(first.parent / beginning)}*"
    return " ".join(map(shell_path, paths))
