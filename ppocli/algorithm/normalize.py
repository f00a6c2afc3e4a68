"""Inputs and rewards of ordinary size: running statistics, and what is scaled by them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ppocli.envs.api import ObsSpec, Vector

OBS_LIMIT = 10.0
RESOLUTION = 1e-6  # of the mean: a smaller standard deviation is the rounding of float32, and no spread at all
SMALLEST_STD = 1e-18  # so is a smaller one than this: its square would leave the range of float32


def numbers(spec: ObsSpec, obs: Tensor) -> Tensor:
    """Do what `envs.api.numbers` does, for a tensor."""
    return obs if isinstance(spec, Vector) else obs[..., spec.numbers_at].view(torch.float32)


class RunningStatistics(nn.Module):
    """Mean and variance of all that was ever added, 0 and 1 before: buffers, float64 unless the module is moved."""

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("var", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def add(self, values: Tensor) -> None:
        """Add values (..., *shape). Chan, Golub and LeVeque 1979, eq. 2.1: exact in any split of the data."""
        values = values.to(self.mean.dtype).reshape(-1, *self.mean.shape)
        mean, var, count = values.mean(0), values.var(0, correction=0), len(values)
        total = self.count + count
        difference = mean - self.mean
        squares = self.var * self.count + var * count + difference.square() * (self.count * count / total)
        self.mean += difference * (count / total)
        self.var.copy_(squares / total)
        self.count += count

    @property
    def std(self) -> Tensor:
        """The standard deviation of what varies, and 1 for what does not: it is to be divided by."""
        rounding = (RESOLUTION * self.mean.abs()).clamp(min=SMALLEST_STD)
        return self.var.where(self.var > rounding.square(), 1.0).sqrt()


class ObsNormalizer(nn.Module):
    """Observations (..., *spec.shape) less their running mean, over their running standard deviation, clipped at ± 10.

    A mask stays as it is, and so do pictures. What observations are shifted and divided by is kept from one change of
    the statistics to the next: a rollout asks for it in each of its steps.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ObsSpec) -> None:
        super().__init__()
        self._spec, self._size, self._has_mask = spec, spec.size, spec.num_masked > 0
        self.statistics = RunningStatistics(spec.size)
        self._take_over()
        hook = self.register_load_state_dict_post_hook  # which PyTorch has left without types
        hook(lambda module, _: module._take_over())  # type: ignore[no-untyped-call]

    def learn(self, obs: Tensor) -> None:
        """Let observations (..., *spec.shape) count."""
        self.statistics.add(numbers(self._spec, obs)[..., : self._size])
        self._take_over()

    def forward(self, obs: Tensor) -> Tensor:
        """Return normalised observations; the statistics stay as they are."""
        if isinstance(self._spec, Vector) and not self._has_mask:
            return self._scaled(obs)
        seen = obs.clone()
        scaled = numbers(self._spec, seen)[..., : self._size]
        scaled.copy_(self._scaled(scaled))
        return seen

    def _scaled(self, numbers: Tensor) -> Tensor:
        return ((numbers - self.mean) / self.std).clamp(-OBS_LIMIT, OBS_LIMIT)

    def _take_over(self) -> None:
        self.register_buffer("mean", self.statistics.mean.float(), persistent=False)
        self.register_buffer("std", self.statistics.std.float(), persistent=False)


class RewardNormalizer:
    """The scale that gives discounted returns a standard deviation of about 1. Nothing is shifted.

    R_t = r_t + γ R_{t−1}, from 0 at the start of each episode, runs on from one rollout into the next in each of the N
    environments; rewards are to be divided by the standard deviation of all R so far.
    """

    def __init__(self, num_envs: int, gamma: float) -> None:
        self.gamma = gamma
        self.returns = np.zeros(num_envs)
        self.statistics = RunningStatistics()

    def add(self, rewards: NDArray[np.float32], ended: NDArray[np.bool_]) -> None:
        """Add a rollout: rewards (T, N), and whether the episode ended with them (T, N)."""
        history = np.empty(rewards.shape)
        for t in range(len(rewards)):
            history[t] = self.returns * self.gamma + rewards[t]
            self.returns[:] = np.where(ended[t], 0.0, history[t])
        self.statistics.add(torch.from_numpy(history))

    @property
    def scale(self) -> float:
        """What to multiply rewards by."""
        return 1 / float(self.statistics.std)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that outlives a rollout, itself and no copy."""
        return {"returns": torch.from_numpy(self.returns), **self.statistics.state_dict()}
