"""What an actor, or a critic, is made of: from observations to numbers."""

import itertools
from math import sqrt

import torch
from torch import nn

from ppocli.config.models import NetworkConfig
from ppocli.envs.api import ObsSpec, Vector

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}


def make_network(
    spec: ObsSpec, num_outputs: int, head_gain: float, config: NetworkConfig, generator: torch.Generator | None
) -> nn.Module:
    """Return a network from observations (B, *spec.shape) to (B, num_outputs).

    With `init: orthogonal` weights are orthogonal with gain √2, the last layer's with `head_gain`, and biases are zero;
    with `uniform` all are drawn from ±1/√inputs, as PyTorch does by itself. All randomness comes from `generator`.
    """
    match spec:
        case Vector():
            sizes = (spec.size, *config.hidden_sizes)
            layers: list[nn.Module] = []
            for inputs, outputs in itertools.pairwise(sizes):
                layers += [_linear(inputs, outputs, sqrt(2), config.init, generator), ACTIVATIONS[config.activation]()]
            return nn.Sequential(*layers, _linear(sizes[-1], num_outputs, head_gain, config.init, generator))


def _linear(inputs: int, outputs: int, gain: float, init: str, generator: torch.Generator | None) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):  # PyTorch draws first numbers from the generator of the whole program
        layer = nn.Linear(inputs, outputs, dtype=torch.float32)
    if init == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
    else:
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -1 / sqrt(inputs), 1 / sqrt(inputs), generator=generator)
    return layer
