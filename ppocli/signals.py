"""Signals that ask to stop: a command ends at once, a training once its work is safe."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType
from typing import Any, NoReturn

SIGPIPE = 13  # by that name only where the system has it
STOPPING = "Stopping once this iteration is done; again to stop at once."
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_not_ours: dict[int, Any] = {}  # the handlers that signals had before ours, while they have ours


class Stopped(BaseException):
    """A signal has asked the command to end."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number
        self.words = "interrupted" if signal_number == signal.SIGINT else f"stopped by {signal_name(signal_number)}"


class TimeIsUp(BaseException):  # and no Exception: a user's code is not to catch it
    """What was to take only so long has taken longer."""


def signal_name(number: int) -> str:
    """Return a signal's number and name, as in `signal 9 (SIGKILL)`."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def handle(handler: Callable[[int, FrameType | None], Any]) -> dict[int, Any]:
    """Let signals that ask to stop be handled so; return how they were before.

    One that the process was started to ignore (as `nohup` does with SIGHUP) stays ignored. What a user's code forks
    answers as it would without us.
    """
    _watch_forks()
    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heeded}
    for number, previous in before.items():
        _not_ours.setdefault(number, previous)
    return before


@cache
def _watch_forks() -> None:
    if not hasattr(os, "register_at_fork"):
        return
    held_back: list[Any] = []  # a signal that comes before the child has its own handlers would be lost

    def hold_back() -> None:
        held_back.append(signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS))

    def let_in() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back.pop())

    def begin_child() -> None:
        for known in _not_ours.items():
            signal.signal(*known)
        let_in()

    os.register_at_fork(before=hold_back, after_in_parent=let_in, after_in_child=begin_child)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Within the block, signals that ask to stop are handled so."""
    known, before = set(_not_ours), handle(handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
            if number not in known:
                del _not_ours[number]


def end_at_once(number: int, frame: FrameType | None = None) -> NoReturn:
    """Say so in one line and end the process: while it starts, it has nothing to lose, and torch no way to go back."""
    cursor = "\r\x1b[2K\x1b[?25h" if os.isatty(2) else ""  # which a spinner may have hidden
    with suppress(OSError):
        os.write(2, f"{cursor}error: {Stopped(number).words}\n".encode())
    os._exit(128 + number)


def end_in_order(number: int, frame: FrameType | None) -> NoReturn:
    """Raise Stopped, so that all that is open is closed; the next signal ends the process at once."""
    handle(end_at_once)
    raise Stopped(number)


def ending_after(close: Callable[[], object]) -> Callable[[int, FrameType | None], NoReturn]:
    """Return what does `end_at_once`, but closes something first; the next signal does not wait for that."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        handle(end_at_once)
        close()
        end_at_once(number)

    return end


def leave_stop_signals_to_parent() -> None:
    """Do nothing about the signals that ask to stop, which a terminal sends to every process in it.

    They are handled and not ignored: what a user's code starts from here would inherit that, and not end when told to.
    """
    handle(lambda number, frame: None)


@contextmanager
def stop_signals_held_back() -> Iterator[None]:
    """Within the block, signals that ask to stop wait for its end; processes that are started in it get none."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_stop_signals_in() -> None:
    """In a process that was started while they were held back, get them from now on."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp once the block has taken so long; not in a thread, nor where a program has an alarm of its own."""
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "SIGALRM") or signal.getsignal(signal.SIGALRM) != signal.SIG_DFL:
        yield
        return

    def ring(number: int, frame: FrameType | None) -> NoReturn:
        raise TimeIsUp

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # and again, should somebody have caught it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


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

    Where the block is `patient`, further ones change nothing.
    """
    request = StopRequest()

    def handle(signal_number: int, frame: FrameType | None) -> None:
        if request and not patient:
            raise Stopped(signal_number)
        request.signal_number = signal_number
        # To stderr, not by print(): the signal may have come in the middle of one, and no file can be entered twice.
        with suppress(OSError):  # a hang-up takes the terminal away, and the run must still end well
            os.write(2, request.acknowledgement)

    with handling(handle):
        yield request
