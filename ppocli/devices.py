"""Where tensors are computed, and by how many threads."""

import torch

from ppocli.errors import PpocliError


def choose_device(name: str) -> torch.device:
    """Return the device that `train.device` names. Raises PpocliError if this torch does not have it.

    `auto` is the CPU: with networks this small, moving batches to a GPU and back costs more than it saves.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise PpocliError("train.device: cuda, but torch finds no CUDA device here; use auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise PpocliError("train.device: mps, but torch finds no Apple GPU here; use auto or cpu")
    return torch.device("cpu" if name == "auto" else name)


def use_one_thread() -> None:
    """Let torch compute with one CPU thread.

    With batches this small a second one gains little, and costs much when something else runs on its core; and the
    number of threads decides the last bits of a sum.
    """
    torch.set_num_threads(1)
