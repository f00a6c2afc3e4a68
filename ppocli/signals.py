"""Stopping a training run from outside without losing it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from types import FrameType

_STDERR = 2
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def signal_name(number: int) -> str:
    """Return a signal's number and name, as in `signal 9 (SIGKILL)`."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def ignore_stop_signals() -> None:
    """Leave the signals that ask to stop to the process that started this one."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def heed_only_sigterm() -> None:
    """Ignore the other signals that ask to stop: a terminal sends them to every process in it, children included."""
    for number in _SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_signals_held_back() -> Iterator[None]:
    """Within the block, signals that ask to stop wait for its end; processes that are started in it get none."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_resource_tracker() -> None:
    """Start what multiprocessing starts with its first process, which by itself lets in what is held back."""
    with stop_signals_held_back():
        resource_tracker.ensure_running()


def let_stop_signals_in() -> None:
    """In a process that was started while they were held back, get them from now on."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


STOPPING = "Stopping once this iteration is done; again to stop at once."


class StopRequest:
    """Whether somebody has asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.acknowledgement = f"\n{STOPPING}\n".encode()
        """Written to stderr at once; what draws on a terminal may put it where it does no harm."""

    def __bool__(self) -> bool:
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """128 + n on signal n, as shells have it; 0 when nobody asked."""
        return 0 if self.signal_number is None else 128 + self.signal_number


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block, a first signal only asks to stop, so that the iteration can end well; a second one exits.

    A signal that the process was started to ignore (as `nohup` does with SIGHUP) stays ignored.
    """
    request = StopRequest()

    def handle(signal_number: int, frame: FrameType | None) -> None:
        if request:
            raise SystemExit(128 + signal_number)
        request.signal_number = signal_number
        # Not print(): the signal may have come in the middle of one, and files of Python cannot be entered twice.
        with suppress(OSError):  # a hang-up takes the terminal away, and the run must still end well
            os.write(_STDERR, request.acknowledgement)

    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
