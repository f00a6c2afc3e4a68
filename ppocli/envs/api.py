"""The protocol that every backend of vectorised environments fulfils."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

LARGEST = 1e100  # that a number of a run may be: beyond it there is nothing to learn, and little can be drawn


@dataclass(frozen=True)
class Vector:
    """An observation is so many real numbers, and after them, where some actions are not always allowed, a mask.

    A mask has a number for each choice that there is, 1 for what is allowed now and 0 for what is not. It is a part of
    what an environment shows, and goes wherever that goes; networks, all but a policy's outputs, see the rest alone.
    """

    size: int
    num_masked: int = 0  # length of the mask
    dtype: ClassVar[DTypeLike] = np.float32
    threads: ClassVar[int] = 1  # that pay for what is computed of it

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size + self.num_masked,)

    def __str__(self) -> str:
        return f"{self.size} number{'s' * (self.size != 1)}"


@dataclass(frozen=True)
class Pictures:
    """An observation is one picture or several, each (channels, height, width) of bytes, and numbers as a `Vector`.

    All of it is one row of bytes, so that it is stored, sent and looked up like any other: first the pictures, one
    after the other, then the float32 numbers, where they may be read in place.
    """

    pictures: tuple[tuple[int, int, int], ...]
    size: int = 0  # numbers beside the pictures
    num_masked: int = 0
    dtype: ClassVar[DTypeLike] = np.uint8
    threads: ClassVar[int] = 2

    @property
    def places(self) -> list[slice]:
        """Where the bytes of each picture stand."""
        ends = [*itertools.accumulate(map(math.prod, self.pictures), initial=0)]
        return [slice(*both) for both in itertools.pairwise(ends)]

    @property
    def numbers_at(self) -> slice:
        """Where the bytes of the numbers stand: at a multiple of their size."""
        return slice(-(-self.places[-1].stop // _NUMBER) * _NUMBER, None)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.numbers_at.start + (self.size + self.num_masked) * _NUMBER,)

    def __str__(self) -> str:
        forms = [f"picture of {' × '.join(map(str, form))}" for form in self.pictures]
        return ", ".join([*forms, str(Vector(self.size))] if self.size else forms)


_NUMBER = np.dtype(np.float32).itemsize
ObsSpec = Vector | Pictures
"""The form of observations: all in one array, of which `numbers` are in their place."""


def bytes_of(spec: ObsSpec) -> int:
    """Return how many bytes one observation takes."""
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


def numbers(spec: ObsSpec, obs: NDArray[Any]) -> NDArray[np.float32]:
    """Return what of observations (..., *spec.shape) is no picture, (..., size + num_masked): a view, to be written to.

    A mask is the end of it.
    """
    return obs if isinstance(spec, Vector) else obs[..., spec.numbers_at].view(np.float32)


@dataclass(frozen=True)
class Discrete:
    """An action is one choice: 0 … num_choices - 1."""

    num_choices: int
    dtype: ClassVar[DTypeLike] = np.int64
    shape: ClassVar[tuple[int, ...]] = ()


@dataclass(frozen=True)
class MultiDiscrete:
    """An action is several choices at once, each with a number of its own to choose from."""

    num_choices: tuple[int, ...]
    dtype: DTypeLike = np.int64

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.num_choices),)


@dataclass(frozen=True)
class Continuous:
    """An action is a vector of real numbers; in bounded dimensions -1 … 1 stands for the whole range."""

    bounded: tuple[bool, ...]
    dtype: DTypeLike = np.float32

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.bounded),)


ActionSpec = Discrete | MultiDiscrete | Continuous


class Step(NamedTuple):
    """What one action in each of N environments led to, before any reset."""

    obs: NDArray[Any]  # (N, *obs_spec.shape); the last observation of its episode where the episode has ended
    rewards: NDArray[np.float64]  # (N,)
    terminated: NDArray[np.bool_]  # (N,): the task itself ended the episode
    truncated: NDArray[np.bool_]  # (N,): a time limit ended the episode, and its value lives on
    infos: NDArray[np.float64] | None = None  # (N, len(info_keys)): the last ones of episodes, or NaN


class VectorEnv(Protocol):
    """N copies of one environment. Autoreset is off: an environment whose episode has ended waits for `reset`."""

    env_id: str
    num_envs: int
    obs_spec: ObsSpec
    action_spec: ActionSpec
    info_keys: tuple[str, ...]  # what `Step.infos` has
    episode_limit: int  # env steps after which episodes are truncated
    limit_is_assumed: bool  # as neither task nor config has one
    reward_threshold: float | None  # the mean return at which its makers call it solved, None where they name none

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> NDArray[Any]:
        """Start an episode with its seed in each of the environments `indices`; return what all N show.

        An episode depends on nothing but its seed and its actions.
        """

    def step(self, actions: NDArray[Any]) -> Step:
        """Take actions (N, *action_spec.shape).

        An environment that waits for `reset` is left alone: its observation stays, its reward is 0, its flags False.
        """

    def close(self) -> None:
        """Free what the environments hold."""
