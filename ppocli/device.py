"""Where tensors are computed, and by how many threads."""

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from ppocli.cores import usable_cores
from ppocli.errors import PpocliError

_LARGE = 8_000_000  # multiplications forward: a minibatch's samples times a network's weights
_TURNS_BETWEEN_LOOKS = 50
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


def choose_device(name: str) -> torch.device:
    """Return the device that `train.device` names. Raises PpocliError if this torch does not have it.

    `auto` is the CPU: with networks this small, moving batches to a GPU and back costs more than it saves.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise PpocliError("train.device: cuda, but torch finds no CUDA device here; use auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise PpocliError("train.device: mps, but torch finds no Apple GPU here; use auto or cpu")
    return torch.device("cpu" if name == "auto" else name)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Within the block, torch computes an operation with so many CPU threads, as many on every machine.

    The number decides the last bits of a sum. With small batches of vectors a second one gains little, and costs much
    when something else runs on its core; an update may use two all the same (see `SecondThread`).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class SecondThread:
    """A second thread for one of two things that know nothing of each other, as long as that is faster.

    Handing over costs some 0.3 ms, and more on a machine that is busy otherwise. So it is for the CPU, for what takes
    enough `multiplications`, and every so often it is measured what the other way would take. Neither way changes a bit
    of any result.
    """

    def __init__(self, device: torch.device, multiplications: int) -> None:
        self._may = device.type == "cpu" and multiplications >= _LARGE and usable_cores() > 1
        self._turns, self._seconds = 0, {True: 0.0, False: 0.0}  # of the last block with it, and without

    @contextmanager
    def where_it_pays(self) -> Iterator[Callable[..., Callable[[], Any]]]:
        """Within the block, `start(task, *arguments)` begins a task and returns what waits for its result.

        Blocks should all hold as much work.
        """
        if not self._may:
            yield partial
            return
        self._turns += 1
        is_faster, looks = self._seconds[True] <= self._seconds[False], self._turns % _TURNS_BETWEEN_LOOKS == 0
        is_used, began = is_faster != looks, time.perf_counter()
        with ThreadPoolExecutor(max_workers=1, initializer=_compute_as_here) as second:  # none before its first task
            yield (lambda *task: second.submit(*task).result) if is_used else partial
        self._seconds[is_used] = time.perf_counter() - began


def _compute_as_here() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def keep_freed_memory() -> None:
    """Let the C library keep the memory that tensors free, where it is glibc.

    By default it hands every block of more than a few hundred kilobytes back to the system, which must clear each page
    of it again for the next tensor: for batches of 1,024 that takes as long as the arithmetic.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)
