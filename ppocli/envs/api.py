"""The protocol that every backend of vectorised environments fulfils."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Step(NamedTuple):
    """What one action in each of N environments led to, before any reset."""

    obs: NDArray[np.float32]
    """(N, obs_size); the last observation of its episode where the episode has ended."""
    rewards: NDArray[np.float64]
    """(N,)"""
    terminated: NDArray[np.bool_]
    """(N,): the task itself ended the episode."""
    truncated: NDArray[np.bool_]
    """(N,): a time limit cut the episode off, and its value lives on."""


class VectorEnv(Protocol):
    """N copies of one environment. Autoreset is off: an environment whose episode has ended waits for `reset`."""

    num_envs: int
    obs_size: int
    num_actions: int

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> NDArray[np.float32]:
        """Start an episode with its seed in each of the environments `indices`; return all observations (N, obs_size).

        An episode depends on nothing but its seed and its actions.
        """

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Take actions (N,), each in 0 … num_actions - 1.

        An environment that waits for `reset` is left alone: its observation stays, its reward is 0, its flags False.
        """

    def close(self) -> None:
        """Free what the environments hold."""
