"""Where tensors are computed."""

import torch

from ppocli.errors import PpocliError


def choose_device(name: str) -> torch.device:
    """Return the device that `train.device` names, and set torch up for networks this small.

    `auto` is the CPU: moving batches this small to a GPU and back costs more than it saves. One thread is as fast as
    two there, gives the same bits on every machine of a type, and does not collapse when something else runs beside it.
    Raises PpocliError if this torch does not have the device.
    """
    torch.set_num_threads(1)
    if name == "cuda" and not torch.cuda.is_available():
        raise PpocliError("train.device: cuda, but torch finds no CUDA device here; use auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise PpocliError("train.device: mps, but torch finds no Apple GPU here; use auto or cpu")
    return torch.device("cpu" if name == "auto" else name)
