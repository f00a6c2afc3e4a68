"""Processes of ours: started so that a signal finds them ready for it, and told of when they die."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any

from ppocli.signals import signal_name, stop_signals_held_back

CONTEXT = multiprocessing.get_context("spawn")  # a fork could copy torch's locked locks


def start(target: Callable[..., None], *arguments: Any) -> tuple[SpawnProcess, Connection]:
    """Start a process that calls `target` with its end of a pipe, and the arguments; return it, and our end.

    Signals that ask to stop are held back in it, until it lets them in.
    """
    with stop_signals_held_back():  # for it lets in what is held back while multiprocessing starts it by itself
        resource_tracker.ensure_running()
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=target, args=(theirs, *arguments))
    with stop_signals_held_back():
        process.start()
    theirs.close()  # so that its end is the end of the pipe
    return process, ours


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """Keep a new process from importing the main module: it costs time, and may run a user's script a second time."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def death(process: SpawnProcess, seconds: float | None = None) -> str:
    """Return what a process has died of, for which it is given so many seconds."""
    process.join(seconds)
    code = process.exitcode or 0
    if code >= 0:
        return f"exit code {code}"
    name = signal_name(-code)
    return f"killed by {name}{', perhaps for want of memory' if 'SIGKILL' in name else ''}"
