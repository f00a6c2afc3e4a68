"""How two processes take turns, many thousand times a second."""

import os
import time
from contextlib import suppress
from typing import Any

_SPIN_SECONDS = 1e-3
_let_others_run = getattr(os, "sched_yield", lambda: None)


class Link:
    """One end of what two processes tell each other: that it is the other's turn, or what went wrong.

    A number in shared memory lets who spins see it soon; the pipe lets who sleeps hear it, and orders what was written
    before. Its end is the other's end.
    """

    def __init__(self, connection: Any, turns: Any, mine: int) -> None:
        self.connection, self._turns, self._mine, self._heard = connection, turns, mine, 0

    def tell(self, message: bytes = b"") -> None:
        """Say that it is the other's turn, or what went wrong."""
        with suppress(OSError):  # where the other is gone, `hear` says so
            self.connection.send_bytes(message)
        self._turns[self._mine] += 1

    def hear(self) -> bytes:
        """Wait for the other. Raises EOFError, OSError when it is gone."""
        self._heard += 1
        end = time.perf_counter() + _SPIN_SECONDS
        # In a rollout the other is about to answer, and sleeping takes longer; it may need this very core, though.
        while self._turns[1 - self._mine] < self._heard and time.perf_counter() < end:
            _let_others_run()
        message: bytes = self.connection.recv_bytes()
        return message
