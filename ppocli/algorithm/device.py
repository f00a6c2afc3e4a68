"""Where tensors are computed, and by how many threads."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ppocli.errors import PpocliError

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
def one_thread() -> Iterator[None]:
    """Within the block, torch computes an operation with one CPU thread.

    With batches this small a second one gains little, and costs much when something else runs on its core; and the
    number of threads decides the last bits of a sum. The update has its own way to use two (see `PPO.update`).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Let the C library keep the memory that tensors free, where it is glibc.

    By default it hands every block of more than a few hundred kilobytes back to the system, which must clear each page
    of it again for the next tensor: for batches of 1,024 that takes as long as the arithmetic.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)
