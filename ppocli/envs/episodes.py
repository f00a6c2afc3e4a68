"""Episode after episode in each of N environments, for training and evaluation alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.envs.api import Step, VectorEnv


@dataclass(frozen=True)
class Episode:
    """A finished episode."""

    environment: int
    """Index of the environment that played it."""
    seed: int
    episode_return: float
    """Sum of the raw rewards."""
    episode_length: int
    """Env steps."""
    terminated: bool
    truncated: bool
    env_steps: int
    """Env steps that all environments together had taken when it ended."""


class Episodes:
    """Plays environments on and on: knows where each episode stands, which have finished, and what seed comes next.

    `seed_of(environment, number)` is the seed of the environment's `number`-th episode, None when it has no more.
    """

    def __init__(self, envs: VectorEnv, seed_of: Callable[[int, int], int | None]) -> None:
        self.envs = envs
        self.env_steps = 0
        self.finished: list[Episode] = []
        """The episodes that the last step ended."""
        self.seeds: list[int | None] = [None] * envs.num_envs
        """Of the current episodes; None for an environment that has no more."""
        self._seed_of = seed_of
        self._numbers = np.zeros(envs.num_envs, dtype=int)
        self._returns = np.zeros(envs.num_envs)
        self._lengths = np.zeros(envs.num_envs, dtype=int)
        self._playing = np.zeros(envs.num_envs, dtype=bool)
        self.obs: NDArray[np.float32] = self._start(list(range(envs.num_envs)))
        """(N, obs_size): what the next actions answer to, once `start_next` has followed the last `step`."""

    @property
    def any_playing(self) -> bool:
        """Whether any environment has an episode under way."""
        return bool(self._playing.any())

    def step(self, actions: NDArray[Any]) -> Step:
        """Take actions (N,) and collect the episodes they end in `finished`."""
        step = self.envs.step(actions)
        self.env_steps += int(self._playing.sum())
        self._returns += step.rewards
        self._lengths += self._playing
        self.obs = step.obs
        ended = step.terminated | step.truncated
        self.finished = [
            Episode(
                environment=index,
                seed=self._seed(index),
                episode_return=float(self._returns[index]),
                episode_length=int(self._lengths[index]),
                terminated=bool(step.terminated[index]),
                truncated=bool(step.truncated[index]),
                env_steps=self.env_steps,
            )
            for index in np.flatnonzero(ended).tolist()
        ]
        return step

    def start_next(self) -> None:
        """Start the next episode in each environment whose last one has just finished."""
        if self.finished:
            self.obs = self._start([episode.environment for episode in self.finished])

    def _start(self, environments: list[int]) -> NDArray[np.float32]:
        for index in environments:
            self.seeds[index] = self._seed_of(index, int(self._numbers[index]))
            self._playing[index] = self.seeds[index] is not None
            self._numbers[index] += 1
            self._returns[index] = 0.0
            self._lengths[index] = 0
        starting = [index for index in environments if self._playing[index]]
        return self.envs.reset(starting, [self._seed(index) for index in starting])

    def _seed(self, environment: int) -> int:
        seed = self.seeds[environment]
        assert seed is not None
        return seed
