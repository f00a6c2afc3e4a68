"""The protocol that every update fulfils."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from ppocli.algorithm.rollout import Batch


@dataclass(frozen=True)
class UpdateMetrics:
    """What an update did: means over its minibatches, but for the learning rate and what is said of the whole batch."""

    policy_loss: float
    value_loss: float
    entropy: float
    approx_kl: float
    clip_fraction: float
    explained_variance: float  # 1 − Var(returns − values) / Var(returns), of the values that judged the rollout
    value_target_std: float  # standard deviation of the returns
    gradient_norm: float  # global norm, before clipping
    learning_rate: float


class Update(Protocol):
    """Turns batches into better weights of its agent; owns its schedules, and an optimizer that outlives a batch."""

    def update(self, batch: Batch, done: float, rng: np.random.Generator) -> UpdateMetrics:
        """Learn from a batch; `done` in [0, 1] is the share of its schedules that is over, `rng` all it may draw from.

        Raises NonFiniteError when the weights have become worthless.
        """

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the state that outlives a batch, itself and no copy: what is written into it is taken over."""
