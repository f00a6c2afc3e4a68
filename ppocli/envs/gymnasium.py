"""The backend `gymnasium`: Gymnasium's own environments, stepped one after the other in this process."""

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ppocli.config.models import EnvConfig
from ppocli.envs import spaces
from ppocli.envs.api import Observations, Step
from ppocli.errors import PpocliError, UsageError

KEEP_THEIR_WORLD = {"BipedalWalker", "BipedalWalkerHardcore", "CarRacing"}
"""Environments whose `reset` builds into the world of the episode before: each episode gets an object of its own."""


def make_env(config: EnvConfig, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Make one environment. Raises UsageError for what Gymnasium does not know, PpocliError for a missing package.

    Without a render mode it draws nothing and keeps nothing to draw (LunarLander would keep every puff of exhaust).
    """
    kwargs: dict[str, Any] = dict(config.kwargs)
    try:
        with warnings.catch_warnings():
            # An outdated id is an error with Gymnasium's own advice, or works; its warnings would only repeat that.
            warnings.simplefilter("ignore")
            return gym.make(config.id, render_mode=render_mode, disable_env_checker=True, **kwargs)
    except (gym.error.DependencyNotInstalled, ImportError) as error:
        raise PpocliError(f"{config.id}: {error}") from error
    except gym.error.Error as error:
        advice = str(error).replace("`", "")
        raise UsageError(f"env.id: {config.id!r} is not an environment of this Gymnasium: {advice}") from error
    except Exception as error:
        if not config.kwargs:
            raise
        raise UsageError(f"env.kwargs: {config.id} does not take {config.kwargs}: {error}") from error


class GymnasiumVectorEnv:
    """N Gymnasium environments; each is made when first reset.

    Raises UsageError for one that does not exist or has unsupported spaces. What one raises gets a note of when it did.
    """

    def __init__(self, config: EnvConfig, num_envs: int, render_mode: str | None = None) -> None:
        self.num_envs = num_envs
        self._config = config
        self._render_mode = render_mode
        first = make_env(config, render_mode)
        self.obs_spec, self._flatten = spaces.observations(config.id, first.observation_space)
        self.action_spec, self._to_env = spaces.actions(config.id, first.action_space)
        self.spec = first.spec  # what Gymnasium made the environments from
        self.reward_threshold = first.spec.reward_threshold if first.spec else None
        self.frames_per_second = float(first.metadata.get("render_fps") or 30)  # steps in a second of its own time
        self._made_anew = first.spec is not None and first.spec.name in KEEP_THEIR_WORLD
        self._envs: dict[int, gym.Env[Any, Any]] = {0: first}
        self._playing = np.zeros(num_envs, dtype=bool)
        self._seeds = [0] * num_envs
        self._steps = np.zeros(num_envs, dtype=int)
        self._obs = np.zeros((num_envs, *self.obs_spec.shape), self.obs_spec.dtype)

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> Observations:
        for index, seed in zip(indices, seeds, strict=True):
            if self._made_anew and index in self._envs:
                self._envs.pop(index).close()
            if index not in self._envs:
                self._envs[index] = make_env(self._config, self._render_mode)
            self._seeds[index], self._steps[index] = seed, 0
            try:
                self._obs[index] = self._flatten(self._envs[index].reset(seed=seed)[0])
            except Exception as error:
                self._note_place(error, index)
                raise
            self._playing[index] = True
        return Observations(self._obs.copy())

    def step(self, actions: NDArray[Any]) -> Step:
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        chosen = self._to_env(actions)
        if chosen.ndim == 1:
            chosen = chosen.tolist()  # plain numbers, which environments compute faster with
        self._steps += self._playing
        index = 0
        try:
            for index in np.flatnonzero(self._playing).tolist():
                obs, rewards[index], terminated[index], truncated[index], _ = self._envs[index].step(chosen[index])
                self._obs[index] = self._flatten(obs)
        except Exception as error:
            self._note_place(error, index)
            raise
        self._playing &= ~(terminated | truncated)
        return Step(self._obs.copy(), rewards, terminated, truncated)

    def _note_place(self, error: Exception, index: int) -> None:
        """Let the traceback of an environment that fails end with how to come to that point again."""
        step, seed = self._steps[index], self._seeds[index]
        error.add_note(f"raised by {self._config.id} in step {step} of its episode with seed {seed}")

    def render(self) -> Any:
        """Return what the first environment draws, (height, width, 3), uint8; None for a window. Raises PpocliError."""
        try:
            return self._envs[0].render()
        except Exception as error:  # each library that draws has errors of its own
            raise PpocliError(
                f"{self._config.id} cannot be drawn here: {type(error).__name__}: {error} "
                "(without a screen MuJoCo draws through EGL, Debian's package libegl1)"
            ) from error

    def close(self) -> None:
        for env in self._envs.values():
            env.close()
