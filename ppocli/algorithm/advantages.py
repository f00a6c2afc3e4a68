"""Advantages and value targets."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


def compute_gae(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    terminated: Flags,
    truncated: Flags,
    gamma: float,
    gae_lambda: float,
) -> tuple[Floats, Floats]:
    """Generalised advantage estimation, arXiv:1506.02438 eq. 16: (advantages, advantages + values). All are (T, N).

        δ_t = r_t + γ (1 − terminated_t) · next_values_t − values_t
        A_t = δ_t + γ λ (1 − (terminated_t ∨ truncated_t)) · A_{t+1},   A_T = 0

    `terminated[t]` and `truncated[t]` say what action t led to; `next_values[t]` is the value of the observation it led
    to, before any reset. A truncated episode therefore keeps the value of what it did not live to see, a terminated one
    has none, and no advantage runs on from one episode into the next.
    """
    deltas = rewards + gamma * np.where(terminated, 0, next_values) - values
    carry = np.where(terminated | truncated, 0, gamma * gae_lambda).astype(np.float32)
    advantages = np.empty_like(values)
    later = np.zeros_like(values[0])
    for t in reversed(range(len(rewards))):
        later = deltas[t] + carry[t] * later
        advantages[t] = later
    return advantages, advantages + values
