"""The protocol that every backend of vectorised environments fulfils."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True)
class Discrete:
    """An action is one choice: 0 … num_choices - 1."""

    num_choices: int
    dtype: DTypeLike = np.int64

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one action."""
        return ()


@dataclass(frozen=True)
class MultiDiscrete:
    """An action is several choices at once, each with a number of its own to choose from."""

    num_choices: tuple[int, ...]
    dtype: DTypeLike = np.int64

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one action."""
        return (len(self.num_choices),)


@dataclass(frozen=True)
class Continuous:
    """An action is a vector of real numbers; in bounded dimensions -1 … 1 stands for the whole range."""

    bounded: tuple[bool, ...]
    dtype: DTypeLike = np.float32

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one action."""
        return (len(self.bounded),)


ActionSpec = Discrete | MultiDiscrete | Continuous


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
    action_spec: ActionSpec

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> NDArray[np.float32]:
        """Start an episode with its seed in each of the environments `indices`; return all observations (N, obs_size).

        An episode depends on nothing but its seed and its actions.
        """

    def step(self, actions: NDArray[Any]) -> Step:
        """Take actions (N, *action_spec.shape).

        An environment that waits for `reset` is left alone: its observation stays, its reward is 0, its flags False.
        """

    def close(self) -> None:
        """Free what the environments hold."""
