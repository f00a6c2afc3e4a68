"""The backend `gymnasium`: Gymnasium's own environments, stepped one after the other in this process."""

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ppocli.config import EnvConfig
from ppocli.envs.api import Step
from ppocli.errors import PpocliError, UsageError

# These keep their world from episode to episode, so only a fresh object makes an episode depend on its seed alone.
_CARRIES_STATE_OVER_RESET = {"BipedalWalker-v3", "BipedalWalkerHardcore-v3"}


def make_env(config: EnvConfig, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Make one environment. Raises UsageError for an id or arguments that Gymnasium does not know.

    Without a render mode it draws nothing and keeps nothing to draw (LunarLander would keep every puff of exhaust).
    """
    try:
        with warnings.catch_warnings():
            # An outdated id is an error with Gymnasium's own advice, or works; its warnings would only repeat that.
            warnings.simplefilter("ignore")
            return gym.make(config.id, render_mode=render_mode, disable_env_checker=True, **config.kwargs)
    except gym.error.DependencyNotInstalled as error:
        raise PpocliError(f"{config.id}: {error}") from error
    except gym.error.Error as error:
        advice = str(error).replace("`", "")
        raise UsageError(f"env.id: {config.id!r} is not an environment of this Gymnasium: {advice}") from error
    except (TypeError, ValueError, AssertionError) as error:
        if not config.kwargs:
            raise
        raise UsageError(f"env.kwargs: {config.id} does not take {config.kwargs}: {error}") from error


def reward_threshold(config: EnvConfig) -> float | None:
    """Return the mean return at which the environment's makers call it solved, if they name one."""
    return gym.spec(config.id).reward_threshold


class GymnasiumVectorEnv:
    """N Gymnasium environments with Box observations (flattened) and Discrete actions.

    Raises UsageError for an environment that does not exist or has other spaces.
    """

    def __init__(self, config: EnvConfig, num_envs: int, render_mode: str | None = None) -> None:
        self.num_envs = num_envs
        self._config = config
        self._render_mode = render_mode
        self._envs = [make_env(config, render_mode)]
        self.obs_size, self.num_actions, self._first_action = _sizes(config.id, self._envs[0])
        self._envs += [make_env(config, render_mode) for _ in range(num_envs - 1)]
        self._waits = np.ones(num_envs, dtype=bool)
        self._used = np.zeros(num_envs, dtype=bool)
        self._obs = np.zeros((num_envs, self.obs_size), dtype=np.float32)

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> NDArray[np.float32]:
        """See `VectorEnv.reset`."""
        for index, seed in zip(indices, seeds, strict=True):
            if self._used[index] and self._config.id in _CARRIES_STATE_OVER_RESET:
                self._envs[index].close()
                self._envs[index] = make_env(self._config, self._render_mode)
            self._obs[index] = np.ravel(self._envs[index].reset(seed=seed)[0])
            self._waits[index] = False
            self._used[index] = True
        return self._obs.copy()

    def step(self, actions: NDArray[np.int64]) -> Step:
        """See `VectorEnv.step`."""
        rewards = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = np.zeros(self.num_envs, dtype=bool)
        chosen = (actions + self._first_action).tolist()
        for index in np.flatnonzero(~self._waits).tolist():
            obs, rewards[index], terminated[index], truncated[index], _ = self._envs[index].step(chosen[index])
            self._obs[index] = np.ravel(obs)
        self._waits |= terminated | truncated
        return Step(self._obs.copy(), rewards, terminated, truncated)

    def render(self) -> list[Any]:
        """Return what each environment draws: (height, width, 3) arrays of uint8, None for a window on the screen."""
        return [env.render() for env in self._envs]

    @property
    def frames_per_second(self) -> float:
        """How many steps of the environment are one second of its own time."""
        return float(self._envs[0].metadata.get("render_fps") or 30)

    def close(self) -> None:
        """See `VectorEnv.close`."""
        for env in self._envs:
            env.close()


def _sizes(env_id: str, env: gym.Env[Any, Any]) -> tuple[int, int, int]:
    """Return the observation's length, the number of actions and the first action's number."""
    obs, actions = env.observation_space, env.action_space
    if not isinstance(obs, gym.spaces.Box):
        raise UsageError(f"env.id: {env_id} has observations {obs}; supported are Box observations, flattened")
    if not isinstance(actions, gym.spaces.Discrete):
        raise UsageError(f"env.id: {env_id} has actions {actions}; supported are Discrete actions")
    return int(np.prod(obs.shape)), int(actions.n), int(actions.start)
