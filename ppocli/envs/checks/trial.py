"""An environment that is tried out: for how long, what is found, and what it does when chance plays."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ppocli.config.models import Config
from ppocli.envs import masks
from ppocli.envs.api import ActionSpec, ObsSpec, Step, VectorEnv, numbers
from ppocli.envs.episodes import Episode, Episodes
from ppocli.envs.gymnasium import CLOSE_SECONDS, GymnasiumVectorEnv, close_envs, make_env
from ppocli.envs.spaces import without_pictures
from ppocli.envs.wrappers import wraps_of
from ppocli.errors import PpocliError
from ppocli.seeds import training_seeds
from ppocli.signals import at_most

Level = Literal["error", "warning", "hint"]
"""Training would fail or learn the wrong thing; it costs something; it is good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it might be, and what to change."""

    level: Level
    check: str  # which question it answers
    message: str
    advice: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # keys of the config that do as advised


@dataclass(frozen=True)
class Budget:
    """How long each part of a check may play, whichever comes first, and wait for what does not end by itself."""

    seconds: float = 1.5
    env_steps: int = 8_000  # fewer than an episode without a limit may have
    patience: float = 10.0  # seconds
    clock: Callable[[], float] = time.perf_counter

    def steps(self, share: float = 1.0) -> Iterator[int]:
        """Count env steps, for as long as a part, or so much of one, may play."""
        end = self.clock() + share * self.seconds
        for number in range(max(1, round(share * self.env_steps))):
            yield number
            if self.clock() >= end:
                return


@dataclass
class Played:
    """What an environment has shown when chance played it."""

    limit: int | None  # env steps of an episode, as task or config have it
    action_spec: ActionSpec
    obs_spec: ObsSpec
    numbers_space: gym.Space[Any]  # of an observation without its pictures
    low: NDArray[Any]  # of each number in an observation: the lowest there was
    high: NDArray[Any]
    first: NDArray[Any]  # observation
    changed: NDArray[np.bool_]  # what of it was ever otherwise
    forbids: bool = False  # whether its mask has ever forbidden anything
    rewards: list[list[float]] = field(default_factory=list)  # of each episode, the last of which may have no end
    episodes: list[Episode] = field(default_factory=list)  # those with an end

    @property
    def env_steps(self) -> int:
        """How many there were."""
        return sum(map(len, self.rewards))

    def see(self, obs: NDArray[Any]) -> None:
        """Take note of an observation, whose mask comes last."""
        self.changed |= obs != self.first
        seen, mask = np.split(numbers(self.obs_spec, obs), [self.low.size])
        self.low, self.high = np.minimum(self.low, seen), np.maximum(self.high, seen)
        self.forbids |= not mask.all()


@dataclass
class Trial:
    """An environment, how it is to be tried out, and what is known of it so far."""

    config: Config
    budget: Budget = Budget()
    printed: Callable[[], str] = str  # returns what has been printed since the check began
    played: Played | None = None
    failed: bool = False  # whether it could not be played; other parts need not say so again
    closes: bool = True
    over: bool = False  # whether there is nothing to be tried any more
    reproducible: bool = True
    env_steps_per_second: dict[str, float] = field(default_factory=dict)
    workers: int = 0  # of the measurement with some

    @property
    def seed(self) -> int:
        """The seed of the first episode, which every part of a check begins with."""
        return training_seeds(self.config.train.seed)(0, 0)

    @contextmanager
    def bare(self, render_mode: str | None = None) -> Iterator[gym.Env[Any, Any]]:
        """Return Gymnasium's own environment. Raises TimeIsUp, and what it raises."""
        with at_most(self.budget.patience):
            env = make_env(self.config.env, wraps_of(self.config.env.wrappers), render_mode)
        try:
            with at_most(self.budget.patience):
                yield env
        finally:
            self._close(lambda: close_envs(self.config.env.id, [env]))

    @contextmanager
    def opened(self, num_envs: int = 1, render_mode: str | None = None) -> Iterator[GymnasiumVectorEnv]:
        """Return so many copies, one after the other in this process. Raises TimeIsUp, and what they raise."""
        with at_most(self.budget.patience):
            envs = GymnasiumVectorEnv(self.config.env, num_envs, render_mode)
        try:
            with at_most(self.budget.patience):
                yield envs
        finally:
            self._close(envs.close)

    def _close(self, close: Callable[[], None]) -> None:
        """Close what was opened, unless that is known never to end: once is enough to wait for it."""
        if self.closes:
            began = self.budget.clock()
            close()
            self.closes = self.budget.clock() - began < CLOSE_SECONDS


def chance(envs: VectorEnv, obs: NDArray[Any], rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
    """Return an action for each environment, drawn by its own generator from all that it allows."""
    return masks.chance(envs.action_spec, envs.obs_spec, obs, rngs)


def play(trial: Trial) -> None:
    """Let chance play episode after episode as training does, and keep what there is to see of it.

    Raises PpocliError as training would.
    """
    with trial.opened() as envs:
        size, limit = envs.obs_spec.size, None if envs.limit_is_assumed else envs.episode_limit
        worst = np.full(size, np.inf, np.float32)
        episodes, rng = Episodes(envs, training_seeds(trial.config.train.seed)), np.random.default_rng(0)
        first = episodes.obs[0].copy()
        space = without_pictures(envs.observation_space, envs.obs_spec)
        played = Played(
            limit, envs.action_spec, envs.obs_spec, space, worst, -worst, first, np.zeros(first.shape, bool)
        )
        trial.played = played
        played.see(first)
        played.rewards.append([])
        for _ in trial.budget.steps():
            step = episodes.step(chance(envs, episodes.obs, [rng]))
            played.see(step.obs[0])
            played.rewards[-1].append(float(step.rewards[0]))
            if episodes.finished:
                played.episodes += episodes.finished
                episodes.start_next()
                played.see(episodes.obs[0])
                played.rewards.append([])


Row = tuple[int, int, bool]
"""Digests of the observation and of the reward, and whether the episode ends."""


def trace(trial: Trial, envs: VectorEnv, seed: int, share: float = 0.1) -> list[Row]:
    """Return what the first environment does in the episode with a seed, while the others play theirs beside it.

    It is given the same actions each time, and a share of the budget.
    """
    rngs = [np.random.default_rng(index) for index in range(envs.num_envs)]
    rows = []
    try:
        obs = envs.reset(range(envs.num_envs), range(seed, seed + envs.num_envs))
        rows.append(_row(Step(obs, *np.zeros((3, 1)))))
        for _ in trial.budget.steps(share):
            step = envs.step(chance(envs, obs, rngs))
            obs, ended = step.obs, step.terminated | step.truncated
            rows.append(_row(step))
            if ended[0]:
                break
            if others := np.flatnonzero(ended).tolist():
                obs = envs.reset(others, others)
    except PpocliError:
        if not trial.failed:
            raise
    return rows


def _row(step: Step) -> Row:
    obs, reward = (hash((values[0] + 0.0).tobytes()) for values in (step.obs, step.rewards))  # + 0.0, as -0 is 0
    return obs, reward, bool(step.terminated[0] or step.truncated[0])


def difference(first: Sequence[Row], again: Sequence[Row]) -> str:
    """Return what is the first thing to differ, as far as both go; nothing where nothing does."""
    for number, rows in enumerate(zip(first, again, strict=False)):
        for name, one, other in zip(("observation", "reward", "end"), *rows, strict=True):
            if one != other:
                return f"its {name} in step {number}" if number else "its first observation"
    return ""
