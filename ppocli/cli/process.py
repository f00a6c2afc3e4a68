"""What is global to the process: streams, signals, the garbage collector, what a user has imported."""

import gc
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from ppocli.errors import UsageError, one_line
from ppocli.signals import stop_signals_held_back


def fail(message: str, exit_code: int) -> NoReturn:
    """Say in one line what is wrong, and exit."""
    with suppress(OSError):
        print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(exit_code)


def make_streams_safe() -> None:
    """Let every stream lead somewhere, and hold every character.

    One that is closed would give its number to the next file that is opened, which would then get what is meant for it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def import_modules(names: Sequence[str] | None) -> None:
    """Import what the user asked for, from the working directory too. Raises UsageError."""
    if names:
        sys.path.insert(0, str(Path.cwd()))
    for name in names or ():
        try:
            importlib.import_module(name)
        except (ImportError, ValueError, TypeError) as error:
            raise UsageError(f"--import {name}: {error}") from error


@contextmanager
def importing(what: str = "Starting") -> Iterator[None]:
    """Say in a terminal that something is being imported, and keep the garbage collector away: it all stays to the end.

    Signals wait, too: torch cannot be interrupted while it is imported, and would crash.
    """
    from ppocli.views import console

    os.environ.pop("MPLBACKEND", None)  # no window is drawn in, and one that matplotlib does not know it takes amiss
    with console.working(what):
        gc.disable()
        try:
            with stop_signals_held_back():
                yield
        finally:
            gc.freeze()  # nor need it be looked through at exit
            gc.enable()
