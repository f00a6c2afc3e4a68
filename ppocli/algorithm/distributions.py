"""What turns the actor's outputs into actions: a distribution for each kind of action.

Randomness comes from outside, as `noise` drawn by `draw_noise`, so that an action depends on no hidden state. The
actor's outputs and noise are (..., num_outputs); `mode` are the most probable actions. Log-probabilities (densities,
where actions are real numbers) and entropies are (...), in nats, sums over an action's parts. `with_backward` returns
them, and what turns the gradient of a loss by the log-probabilities (B,), and by each entropy, a number, into the
gradient by the outputs (B, num_outputs). `snapshot` is what a distribution is at such outputs, and stays so when its
weights move; `kl` is the KL divergence (...) of one from another, in nats, and `fisher` multiplies by its second
derivative, the Fisher information of the outputs, the mean over a batch.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ppocli.envs.api import ActionSpec, Continuous, Discrete, MultiDiscrete

Backward = Callable[[Tensor, float], Tensor]
Snapshot = tuple[Tensor, ...]


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

    def with_backward(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Backward]:
        """∂ log π(a)/∂z = e_a − p and ∂H/∂z = −p (log p + H), of logits z."""
        # Choices come first within: over the first dimension PyTorch's softmax is five times as fast.
        log_probs, actions = outputs.movedim(-1, 0).log_softmax(0), actions.unsqueeze(0)
        probs = log_probs.exp()
        negative_entropy = (probs * log_probs).sum(0)

        def backward(by_log_prob: Tensor, by_entropy: float) -> Tensor:
            result = probs * ((negative_entropy - log_probs) * by_entropy - by_log_prob)
            return result.scatter_add_(0, actions, by_log_prob.unsqueeze(0)).movedim(0, -1)

        return log_probs.gather(0, actions).squeeze(0), -negative_entropy, backward

    def snapshot(self, outputs: Tensor) -> Snapshot:
        """The logarithm of each choice's probability."""
        return (outputs.log_softmax(-1),)

    def kl(self, old: Snapshot, new: Snapshot) -> Tensor:
        """Σ p_old (log p_old − log p_new)."""
        (old_log_probs,), (new_log_probs,) = old, new
        return (old_log_probs.exp() * (old_log_probs - new_log_probs)).sum(-1)

    def fisher(self, outputs: Tensor, moved: Tensor, direction: Sequence[Tensor]) -> Tensor:
        """(diag(p) − p pᵀ) of logits; `moved` is J v (B, num_outputs). It has no weights that have a direction."""
        probs = outputs.softmax(-1)
        return probs * (moved - (probs * moved).sum(-1, keepdim=True)) / len(outputs)


class MultiCategorical(Categorical):
    """Several choices at once, independent of each other given the observation: actions (..., parts), int64."""

    def __init__(self, num_choices: Sequence[int]) -> None:
        super().__init__(sum(num_choices))
        self._sizes = list(num_choices)

    def mode(self, outputs: Tensor) -> Tensor:
        return torch.stack([*map(super().mode, torch.split(outputs, self._sizes, -1))], -1)

    def with_backward(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Backward]:
        """Each part's own, summed up and side by side."""
        parts = torch.split(outputs, self._sizes, -1), actions.unbind(-1)
        log_probs, entropies, backwards = zip(*map(super().with_backward, *parts), strict=True)

        def backward(by_log_prob: Tensor, by_entropy: float) -> Tensor:
            return torch.cat([part(by_log_prob, by_entropy) for part in backwards], -1)

        return torch.stack(log_probs).sum(0), torch.stack(entropies).sum(0), backward

    def snapshot(self, outputs: Tensor) -> Snapshot:
        """The same, part by part, side by side; divergences of independent parts add up."""
        return (torch.cat([part.log_softmax(-1) for part in torch.split(outputs, self._sizes, -1)], -1),)

    def fisher(self, outputs: Tensor, moved: Tensor, direction: Sequence[Tensor]) -> Tensor:
        """Each part's own, side by side."""
        of_part, parts = super().fisher, (torch.split(tensor, self._sizes, -1) for tensor in (outputs, moved))
        return torch.cat([of_part(logits, own, direction) for logits, own in zip(*parts, strict=True)], -1)


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

    def with_backward(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Backward]:
        """∂ log π(a)/∂mean = (a − mean)/σ²; by log σ, whose gradient is added to: ((a − mean)/σ)² − 1, and H has 1."""
        inverse = (-self.log_std).exp()
        standardized = (actions - outputs) * inverse
        squares, log_std = standardized.square(), self.log_std.sum()
        log_normalizer = log_std + 0.5 * self.num_outputs * math.log(2 * math.pi)
        entropy = log_normalizer + 0.5 * self.num_outputs

        def backward(by_log_prob: Tensor, by_entropy: float) -> Tensor:
            assert self.log_std.grad is not None
            self.log_std.grad.addmv_((squares - 1).t(), by_log_prob).add_(by_entropy * len(outputs))
            return standardized * inverse * by_log_prob.unsqueeze(-1)

        return -0.5 * squares.sum(-1) - log_normalizer, entropy.expand(outputs.shape[:-1]), backward

    def snapshot(self, outputs: Tensor) -> Snapshot:
        """The means, and the logarithms of the standard deviations."""
        return outputs, self.log_std.detach().clone()

    def kl(self, old: Snapshot, new: Snapshot) -> Tensor:
        """Σ log σ_new/σ_old + (σ_old² + (mean_old − mean_new)²) / (2 σ_new²) − 1/2."""
        (old_mean, old_log_std), (new_mean, new_log_std) = old, new
        grown = new_log_std - old_log_std
        squares = (-2 * grown).exp() + ((new_mean - old_mean) * (-new_log_std).exp()).square()
        return (grown + 0.5 * squares - 0.5).sum(-1)

    def fisher(self, outputs: Tensor, moved: Tensor, direction: Sequence[Tensor]) -> Tensor:
        """By the means 1/σ², by log σ 2, added to its gradient, and nothing between them."""
        assert self.log_std.grad is not None
        self.log_std.grad.add_(direction[0], alpha=2)
        return moved * (-2 * self.log_std).exp() / len(outputs)


def distribution_of(spec: ActionSpec, log_std_init: float) -> Categorical | Gaussian:
    """Return the distribution over such actions; `log_std_init` is for real numbers."""
    match spec:
        case Discrete():
            return Categorical(spec.num_choices)
        case MultiDiscrete():
            return MultiCategorical(spec.num_choices)
        case Continuous():
            return Gaussian(len(spec.bounded), log_std_init)
