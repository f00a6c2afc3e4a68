"""The backend `envpool`: environments written in C++, stepped by threads. See https://envpool.readthedocs.io."""

import importlib
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.config.sections import EnvConfig
from ppocli.cores import usable_cores
from ppocli.envs import spaces
from ppocli.envs.api import Step, Vector
from ppocli.errors import PpocliError, UsageError


class EnvPoolVectorEnv:
    """N environments of EnvPool.

    It seeds them itself, once, from `seed`: an episode depends on the episodes before it in its environment and on the
    actions taken in them, and the seeds given to `reset` only say that a new one starts. Raises PpocliError without
    EnvPool, UsageError for an environment that it does not have or that is not supported.
    """

    info_keys: tuple[str, ...] = ()
    limit_is_assumed = False
    reward_threshold: float | None = None  # nobody asks: agents are evaluated in Gymnasium's own environments

    def __init__(self, config: EnvConfig, num_envs: int, seed: int) -> None:
        self.env_id, self.num_envs = config.id, num_envs
        own_id, kwargs = _atari(config) if config.id.startswith("ALE/") else (config.id, config.kwargs)
        try:
            envpool = _import_envpool(own_id)
        except ImportError as error:
            raise PpocliError(
                'env.backend: envpool, but EnvPool is not installed: pip install "ppocli[envpool]"'
            ) from error
        if own_id not in envpool.list_all_envs():
            raise UsageError(f"env.id: EnvPool has no {config.id!r}; env.backend: gymnasium may")
        # Some are still awake when the next actions come; with one a core, waking them takes a fifth of a rollout.
        cores = usable_cores() if config.workers == "auto" else config.workers + 1
        threads = min(num_envs, 3 * cores)
        limit = {"max_episode_steps": config.max_episode_steps} if config.max_episode_steps else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gymnasium's, about the precision of EnvPool's own spaces
            try:
                self._envs = envpool.make_gymnasium(
                    own_id, num_envs=num_envs, num_threads=threads, seed=seed, **(limit | kwargs)
                )
            except (AssertionError, TypeError, ValueError) as error:
                raise UsageError(f"env.kwargs: EnvPool's {config.id} does not take {config.kwargs}: {error}") from error
            observations, actions = self._envs.observation_space, self._envs.action_space
        self.episode_limit: int = self._envs.spec.config.max_episode_steps
        self.obs_spec, self._flatten = spaces.observations(config.id, observations, pictures=config.pictures)
        self.action_spec, self._to_env = spaces.actions(config.id, actions)
        self._obs = self._flat(self._envs.reset()[0])
        self._playing, self._used = np.zeros((2, num_envs), dtype=bool)

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> NDArray[Any]:
        named = np.zeros(self.num_envs, dtype=bool)
        named[list(indices)] = True
        again = named & self._used  # the others show their first observation already
        if again.any():
            self._obs[again] = self._flat(self._envs.reset(options={"reset_mask": again})[0])
        self._used |= named
        self._playing |= named
        return self._obs.copy()

    def step(self, actions: NDArray[Any]) -> Step:
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        playing = np.flatnonzero(self._playing)
        chosen = self._to_env(actions[playing])
        obs, rewards[playing], terminated[playing], truncated[playing], _ = self._envs.step(chosen, playing)
        self._obs[playing] = self._flat(obs)
        self._playing &= ~(terminated | truncated)
        return Step(self._obs.copy(), rewards, terminated, truncated)

    def close(self) -> None:
        self._envs.close()

    def _flat(self, obs: NDArray[Any]) -> NDArray[Any]:
        if obs.ndim > 1 and isinstance(self.obs_spec, Vector):
            return obs.reshape(len(obs), -1).astype(np.float32)
        return np.array([self._flatten(one) for one in obs], dtype=self.obs_spec.dtype)


_ATARI = {
    "AtariPreprocessing": {"noop_max": "noop_max", "frame_skip": "frame_skip", "grayscale_obs": "gray_scale"},
    "FrameStackObservation": {"stack_size": "stack_num"},
    "TimeLimit": {"max_episode_steps": "max_episode_steps"},
    "TerminateOnLifeLoss": {},
    "ClipReward": {},
}
"""Wrappers that EnvPool's Atari games have within them, and what it calls their arguments."""
_CLIPPED = {"id": "ClipReward", "min_reward": -1, "max_reward": 1}
_ATARI_ARGUMENTS = ("repeat_action_probability", "full_action_space", "mode", "difficulty")


def _atari(config: EnvConfig) -> tuple[str, dict[str, Any]]:
    """Return EnvPool's name of an Atari game, and the arguments by which it does what the wrappers do.

    Raises UsageError for what it does not.
    """
    wrappers = [{name: value for name, value in one.items() if name != "training_only"} for one in config.wrappers]
    names, preprocessed = [one["id"] for one in wrappers], "AtariPreprocessing"
    if config.kwargs.get("frameskip") != 1 or names[:1] != [preprocessed] or len({*names}) < len(names):
        raise UsageError(
            f"env.backend: envpool plays Atari with frameskip: 1, {preprocessed} first, and no wrapper twice"
        )
    if config.max_episode_steps is not None:
        raise UsageError(
            "env.max_episode_steps: counts skipped frames, which EnvPool does not; the wrapper TimeLimit may"
        )
    kwargs: dict[str, Any] = {"repeat_action_probability": 0.25, "stack_num": 1, "use_fire_reset": False}
    for name, value in config.kwargs.items():
        if name in _ATARI_ARGUMENTS:
            kwargs[name] = value
        elif name not in ("frameskip", "obs_type"):
            raise UsageError(f"env.kwargs: EnvPool's {config.id} has no {name}; env.backend: gymnasium has")
    for wrapper in wrappers:
        known = _ATARI.get(wrapper["id"])
        given = {} if wrapper == _CLIPPED else {name: value for name, value in wrapper.items() if name != "id"}
        if known is None or not given.keys() <= known.keys() or (wrapper["id"] == "ClipReward" and wrapper != _CLIPPED):
            raise UsageError(f"env.wrappers: EnvPool has nothing like {wrapper}; env.backend: gymnasium has")
        if any(value < 1 for value in given.values() if not isinstance(value, bool)):
            raise UsageError(f"env.wrappers: EnvPool takes no such number: {wrapper}; env.backend: gymnasium does")
        kwargs |= {known[name]: value for name, value in given.items()}
    kwargs |= {"reward_clip": "ClipReward" in names, "episodic_life": "TerminateOnLifeLoss" in names}
    return f"{config.id.removeprefix('ALE/').partition('-')[0]}-v5", kwargs


def _import_envpool(env_id: str) -> Any:
    """Import EnvPool with its Box2D and classic tasks, and with all others only where the task is none of them.

    Importing `envpool` brings in every family of tasks by way of `envpool.entry`, which takes two seconds.
    """
    if "envpool" not in sys.modules:
        sys.modules["envpool.entry"] = ModuleType("envpool.entry")
        try:
            importlib.import_module("envpool.box2d.registration")
            importlib.import_module("envpool.classic_control.registration")
        finally:
            del sys.modules["envpool.entry"]
    envpool = importlib.import_module("envpool")
    if env_id not in envpool.list_all_envs():
        importlib.import_module("envpool.entry")
    return envpool
