"""The agent: an actor, a critic, and the distribution that turns the actor's outputs into actions."""

import itertools
from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


class Categorical:
    """The distribution over Discrete actions: the actor's outputs are logits (..., num_actions).

    Randomness comes from outside, as `noise` drawn by `draw_noise`, so that an action depends on no hidden state.
    """

    def __init__(self, num_actions: int) -> None:
        self.num_outputs = num_actions

    def draw_noise(self, rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
        """Draw the noise of `shape` actions: (*shape, num_actions), standard Gumbel."""
        return rng.gumbel(size=(*shape, self.num_outputs)).astype(np.float32)

    def sample(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Actions (...), drawn with the Gumbel-max trick: argmax(logits + Gumbel noise) has the softmax's law."""
        return (logits + noise).argmax(-1)

    def mode(self, logits: Tensor) -> Tensor:
        """The likeliest actions (...)."""
        return logits.argmax(-1)

    def log_prob_and_entropy(self, logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of each action and the distribution's entropy, both (...), in nats."""
        log_probs = logits.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1), entropy


class Agent(nn.Module):
    """Actor and critic, two networks of the same shape that share no weights.

    Weights are orthogonal with gain √2, the policy head's with 0.01 (so that it starts near uniform) and the value
    head's with 1; biases are zero. `generator` is the only source of their randomness.
    """

    def __init__(
        self,
        obs_size: int,
        num_actions: int,
        hidden_sizes: Sequence[int],
        activation: str,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.distribution = Categorical(num_actions)
        sizes = (obs_size, *hidden_sizes)
        self.actor = _network(sizes, self.distribution.num_outputs, 0.01, activation, generator)
        self.critic = _network(sizes, 1, 1.0, activation, generator)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def sample(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Actions (B,) drawn from the policy at obs (B, obs_size)."""
        return self.distribution.sample(self.actor(obs), noise)

    def mode(self, obs: Tensor) -> Tensor:
        """The greedy actions (B,) at obs (B, obs_size)."""
        return self.distribution.mode(self.actor(obs))

    def log_prob_and_entropy(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of actions (B,) at obs (B, obs_size), and the policy's entropy there; both (B,)."""
        return self.distribution.log_prob_and_entropy(self.actor(obs), actions)

    def value(self, obs: Tensor) -> Tensor:
        """The critic's estimate (B,) of the return from obs (B, obs_size)."""
        values: Tensor = self.critic(obs).squeeze(-1)
        return values


def _network(
    sizes: Sequence[int], num_outputs: int, head_gain: float, activation: str, generator: torch.Generator | None
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [_linear(inputs, outputs, sqrt(2), generator), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, _linear(sizes[-1], num_outputs, head_gain, generator))


def _linear(inputs: int, outputs: int, gain: float, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
