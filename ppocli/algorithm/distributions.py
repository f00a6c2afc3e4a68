"""What turns the actor's outputs into actions: a distribution for each kind of action.

Randomness comes from outside, as `noise` drawn by `draw_noise`, so that an action depends on no hidden state. The
actor's outputs and noise are (..., num_outputs); `mode` are the most probable actions. Log-probabilities (densities,
where actions are real numbers) and entropies are (...), in nats, sums over an action's parts.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ppocli.envs.api import ActionSpec, Continuous, Discrete, MultiDiscrete


class Categorical:
    """One choice out of so many: actions (...), int64. The actor's outputs are logits."""

    def __init__(self, num_choices: int) -> None:
        self.num_outputs = num_choices

    def draw_noise(self, rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
        """Draw the noise of `shape` actions, standard Gumbel."""
        return rng.gumbel(size=(*shape, self.num_outputs)).astype(np.float32)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Draw actions with the Gumbel-max trick: argmax(logits + Gumbel noise) is distributed as the softmax."""
        return self.mode(outputs + noise)

    def mode(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(-1)

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = outputs.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1), entropy


class MultiCategorical(Categorical):
    """Several choices at once, independent of each other given the observation: actions (..., parts), int64."""

    def __init__(self, num_choices: Sequence[int]) -> None:
        super().__init__(sum(num_choices))
        self._sizes = list(num_choices)

    def mode(self, outputs: Tensor) -> Tensor:
        return torch.stack([*map(super().mode, torch.split(outputs, self._sizes, -1))], -1)

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        parts = torch.split(outputs, self._sizes, -1), actions.unbind(-1)
        log_probs, entropies = zip(*map(super().log_prob_and_entropy, *parts), strict=True)
        return torch.stack(log_probs).sum(0), torch.stack(entropies).sum(0)


class Gaussian(nn.Module):
    """A vector of independent normal numbers: actions (..., size), float32. The actor's outputs are the means.

    The standard deviations are weights of their own, the same for every observation. Actions are not clipped here: the
    environments do that, and probabilities are those of what was drawn.
    """

    def __init__(self, size: int, log_std_init: float) -> None:
        super().__init__()
        self.num_outputs = size
        self.log_std = nn.Parameter(torch.full((size,), log_std_init, dtype=torch.float32))

    def draw_noise(self, rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
        """Draw the noise of `shape` actions, standard normal."""
        return rng.standard_normal((*shape, self.num_outputs), dtype=np.float32)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Draw actions: mean + standard deviation · noise."""
        return outputs + self.log_std.exp() * noise

    def mode(self, outputs: Tensor) -> Tensor:
        return outputs

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        standardized = (actions - outputs) * (-self.log_std).exp()
        log_std = self.log_std.sum()
        log_normalizer = log_std + 0.5 * self.num_outputs * math.log(2 * math.pi)
        entropy = log_normalizer + 0.5 * self.num_outputs
        return -0.5 * standardized.square().sum(-1) - log_normalizer, entropy.expand(outputs.shape[:-1])


def distribution_of(spec: ActionSpec, log_std_init: float) -> Categorical | Gaussian:
    """Return the distribution over such actions; `log_std_init` is for real numbers."""
    match spec:
        case Discrete():
            return Categorical(spec.num_choices)
        case MultiDiscrete():
            return MultiCategorical(spec.num_choices)
        case Continuous():
            return Gaussian(len(spec.bounded), log_std_init)
