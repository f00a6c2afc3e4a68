"""The agent: an actor, a critic, the distribution over actions, and the statistics that it sees the world through."""

import itertools
from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn

from ppocli.algorithm.distributions import distribution_of
from ppocli.algorithm.normalize import ObsNormalizer
from ppocli.envs.api import ActionSpec

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class Agent(nn.Module):
    """Actor and critic, two networks of the same shape that share no weights.

    With `init: orthogonal` weights are orthogonal with gain √2, the policy head's with 0.01 (so that it starts near
    uniform, or near 0) and the value head's with 1, and biases are zero; with `uniform` all are drawn from
    ±1/√inputs, as PyTorch does by itself. `generator` is the only source of their randomness.

    With `normalize_obs` the agent sees observations through running statistics of its own, saved with its weights; all
    methods take observations as they come from the environment.
    """

    def __init__(
        self,
        obs_size: int,
        action_spec: ActionSpec,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        init: str = "orthogonal",
        log_std_init: float = 0.0,
        normalize_obs: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.distribution = distribution_of(action_spec, log_std_init)
        self.normalizer = ObsNormalizer(obs_size) if normalize_obs else None
        sizes = (obs_size, *hidden_sizes)
        self.actor = _network(sizes, self.distribution.num_outputs, 0.01, activation, init, generator)
        self.critic = _network(sizes, 1, 1.0, activation, init, generator)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def sample(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Actions (B, ...) drawn from the policy at obs (B, obs_size)."""
        return self.distribution.sample(self.actor(self._seen(obs)), noise)

    def mode(self, obs: Tensor) -> Tensor:
        """The greedy actions (B, ...) at obs (B, obs_size)."""
        return self.distribution.mode(self.actor(self._seen(obs)))

    def log_prob_and_entropy(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of actions (B, ...) at obs (B, obs_size), and the policy's entropy there; both (B,)."""
        return self.distribution.log_prob_and_entropy(self.actor(self._seen(obs)), actions)

    def value(self, obs: Tensor) -> Tensor:
        """The critic's estimate (B,) of the return from obs (B, obs_size)."""
        values: Tensor = self.critic(self._seen(obs)).squeeze(-1)
        return values

    def learn_obs(self, obs: Tensor) -> None:
        """Let observations (..., obs_size) count in the running statistics, where the agent has any."""
        if self.normalizer is not None:
            self.normalizer.statistics.add(obs)

    def _seen(self, obs: Tensor) -> Tensor:
        return obs if self.normalizer is None else self.normalizer(obs)


def _network(
    sizes: Sequence[int],
    num_outputs: int,
    head_gain: float,
    activation: str,
    init: str,
    generator: torch.Generator | None,
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [_linear(inputs, outputs, sqrt(2), init, generator), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, _linear(sizes[-1], num_outputs, head_gain, init, generator))


def _linear(inputs: int, outputs: int, gain: float, init: str, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    if init == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
    else:
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -1 / sqrt(inputs), 1 / sqrt(inputs), generator=generator)
    return layer
