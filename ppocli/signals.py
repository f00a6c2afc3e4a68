"""Stopping a training run from outside without losing it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from types import FrameType

STOPPING = "Stopping once this iteration is done; again to stop at once."
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def signal_name(number: int) -> str:
    """Return a signal's number and name, as in `signal 9 (SIGKILL)`."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def ignore_stop_signals(*, but_sigterm: bool = False) -> None:
    """Leave the signals that ask to stop, which a terminal sends to every process in it, to the parent of this one."""
    for number in _SIGNALS:
        if number != signal.SIGTERM or not but_sigterm:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_signals_held_back() -> Iterator[None]:
    """Within the block, signals that ask to stop wait for its end; processes that are started in it get none."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_resource_tracker() -> None:
    """Start what multiprocessing starts with its first process, which by itself lets in what is held back."""
    with stop_signals_held_back():
        resource_tracker.ensure_running()


def let_stop_signals_in() -> None:
    """In a process that was started while they were held back, get them from now on."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


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
def stop_request(*, patient: bool = False) -> Iterator[StopRequest]:
    """Within the block, a first signal only asks to stop, so that the iteration can end well; a second one exits.

    Where the block is `patient`, further ones change nothing. A signal that the process was started to ignore (as
    `nohup` does with SIGHUP) stays ignored.
    """
    request = StopRequest()

    def handle(signal_number: int, frame: FrameType | None) -> None:
        if request and not patient:
            raise SystemExit(128 + signal_number)
        request.signal_number = signal_number
        # To stderr, not by print(): the signal may have come in the middle of one, and no file can be entered twice.
        with suppress(OSError):  # a hang-up takes the terminal away, and the run must still end well
            os.write(2, request.acknowledgement)

    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
