"""What pictures go through before an actor or a critic: from rows of bytes to a vector of features."""

from collections.abc import Sequence
from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppocli.algorithm.networks import Network, initialize
from ppocli.algorithm.normalize import numbers
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Pictures, Vector

FEATURES = 512
PIECE = 256
"""Rows that are seen at once where no gradient is asked for: what lies between the layers is large."""
LARGE = 36  # pixels: the shorter side from which on Nature's kernels fit


class Vision(Network):
    """Convolutions over each picture, then one layer over all of that and the numbers beside; ReLU everywhere.

    From rows (..., *spec.shape) to (..., FEATURES + num_masked): a mask goes on, as the end of the features.
    """

    def __init__(self, spec: Pictures, convolutions: Sequence[nn.Module], layer: nn.Linear) -> None:
        super().__init__(*convolutions, layer)
        self._spec = spec

    def forward(self, obs: Tensor) -> Tensor:
        """Return the features; in pieces where no gradient is asked for."""
        rows = obs.flatten(0, -2)
        parts = [rows] if torch.is_grad_enabled() else torch.split(rows, PIECE)
        return torch.cat([self._features(part) for part in parts]).view(*obs.shape[:-1], -1)

    def _features(self, rows: Tensor) -> Tensor:
        *convolutions, layer = self
        beside = numbers(self._spec, rows)
        seen = []
        for place, form, convolution in zip(self._spec.places, self._spec.pictures, convolutions, strict=True):
            # Channels last in memory, where a CPU takes half as long for them.
            picture = rows[:, place].view(-1, *form).to(memory_format=torch.channels_last)
            seen.append(convolution(picture.float().div_(255)).flatten(1))
        features = torch.relu(layer(torch.cat([*seen, beside[:, : self._spec.size]], 1)))
        return torch.cat([features, beside[:, self._spec.size :]], 1) if self._spec.num_masked else features


class Residual(nn.Module):
    """Two convolutions beside nothing, arXiv:1802.01561 fig. 3: x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return what x becomes, of its shape."""
        beside: Tensor = self.second(F.relu(self.first(F.relu(x))))
        return x + beside


def _nature(channels: int, side: int) -> nn.Sequential:
    """Three convolutions, doi:10.1038/nature14236; of small pictures with smaller kernels and strides."""
    kernels = ((8, 4), (4, 2), (3, 1)) if side >= LARGE else ((4, 2), (3, 2), (3, 1))
    layers: list[nn.Module] = []
    for taken, given, (kernel, stride) in zip((channels, 32, 64), (32, 64, 64), kernels, strict=True):
        layers += [nn.Conv2d(taken, given, kernel, stride), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _impala(channels: int, side: int) -> nn.Sequential:
    """Three sections of a convolution, a pooling and two residual blocks, arXiv:1802.01561 fig. 3."""
    layers: list[nn.Module] = []
    for taken, given in zip((channels, 16, 32), (16, 32, 32), strict=True):
        layers += [nn.Conv2d(taken, given, 3, padding=1), nn.MaxPool2d(3, 2, padding=1)]
        layers += [Residual(given), Residual(given)]
    return nn.Sequential(*layers, nn.ReLU())


_KINDS = {"nature": _nature, "impala": _impala}


def make_vision(spec: Pictures, config: NetworkConfig, generator: torch.Generator | None) -> tuple[Vision, Vector]:
    """Return what sees, and the form of what it gives. All randomness comes from `generator`."""
    with torch.random.fork_rng(devices=[]):  # PyTorch draws first numbers from the generator of the whole program
        convolutions = [_KINDS[config.cnn](form[0], min(form[1:])) for form in spec.pictures]
        with torch.no_grad():
            outputs = [
                prod(convolution(torch.zeros(1, *form)).shape)
                for convolution, form in zip(convolutions, spec.pictures, strict=True)
            ]
        layer = nn.Linear(sum(outputs) + spec.size, FEATURES)
    vision = Vision(spec, convolutions, layer)
    for module in vision.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            initialize(module, sqrt(2), config.init, generator)
    return vision, Vector(FEATURES, spec.num_masked)
