"""The protocol that every update fulfils."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from ppocli.algorithm.rollout import Batch


@dataclass(frozen=True)
class UpdateMetrics:
    """What an update did: means over its minibatches, or over the whole batch; None where there is no such thing."""

    learning_rate: float
    policy_loss: float | None = None
    value_loss: float | None = None
    entropy: float | None = None
    approx_kl: float | None = None  # estimated from the samples while the policy moved
    clip_fraction: float | None = None
    explained_variance: float | None = (
        None  # 1 − Var(returns − values) / Var(returns), of values that judged the rollout
    )
    value_target_std: float | None = None  # standard deviation of the returns
    gradient_norm: float | None = None  # before clipping: global norm, or the policy's own
    kl: float | None = None  # from the policy before the update to that after it; of pictures, over a fifth of them
    step_length: float | None = None  # of the policy's weights
    line_search_steps: int | None = None


class Update(Protocol):
    """Turns batches into better weights of its agent; owns its schedules, and an optimizer that outlives a batch."""

    def update(self, batch: Batch, done: float, rng: np.random.Generator) -> UpdateMetrics:
        """Learn from a batch; `done` in [0, 1] is the share of its schedules that is over, `rng` all it may draw from.

        Raises NonFiniteError when the weights have become worthless.
        """

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the state that outlives a batch, itself and no copy: what is written into it is taken over."""
