"""The backend `gymnasium`: Gymnasium's own environments, stepped one after the other in this process."""

import importlib
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from ppocli.config.sections import EnvConfig
from ppocli.config.values import with_texts
from ppocli.envs import masks, spaces
from ppocli.envs.api import Discrete, Step, numbers
from ppocli.envs.given import begun, flag, number, number_or_nan, picture
from ppocli.envs.wrappers import Wrap, wraps_of
from ppocli.errors import PpocliError, UsageError, warn
from ppocli.guests import FAILURES, IMPORTED, blame
from ppocli.signals import TimeIsUp, at_most

ASSUMED_LIMIT = 10_000  # env steps of an episode where neither the task nor the config has a limit
CLOSE_SECONDS = 5.0  # that environments may take to close
KEEP_THEIR_WORLD = {"BipedalWalker", "BipedalWalkerHardcore", "CarRacing"}
"""Environments whose `reset` builds into the world of the episode before: each episode gets an object of its own."""


REGISTERED_BY = {"ALE/": "ale_py", "MiniGrid-": "minigrid", "BabyAI-": "minigrid"}
"""Packages, known and harmless to import, that register the ids that begin so."""


def register(env_id: str) -> None:
    """Have a well-known package register an id that Gymnasium does not know yet, where it is installed."""
    packages = [package for prefix, package in REGISTERED_BY.items() if env_id.startswith(prefix)]
    if env_id not in gym.registry:
        for package in packages:
            with suppress(ImportError):
                importlib.import_module(package)


def package_of(env_id: str) -> str:
    """Return the package that an environment's code is from, "" for one that is not known."""
    spec = gym.registry.get(env_id)
    code = spec.entry_point if spec else ""
    return (code if isinstance(code, str) else getattr(code, "__module__", "")).partition(":")[0].partition(".")[0]


def make_env(config: EnvConfig, wraps: Sequence[Wrap] = (), render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Make one environment, with what belongs around it.

    Raises UsageError for what Gymnasium does not know, PpocliError for what it raises.

    Without a render mode it draws nothing and keeps nothing to draw (LunarLander would keep every puff of exhaust).
    """
    register(config.id)
    # A copy, of text without what we know of it.
    kwargs = with_texts(config.kwargs, str) | ({"render_mode": render_mode} if render_mode else {})
    try:
        with warnings.catch_warnings():
            # An outdated id is an error with Gymnasium's own advice, or works; its warnings would only repeat that.
            warnings.simplefilter("ignore")
            env = gym.make(config.id, config.max_episode_steps, disable_env_checker=True, **kwargs)
    except gym.error.DependencyNotInstalled as error:
        raise PpocliError(f"{config.id}: {error}") from error
    except gym.error.Error as error:
        said = str(error).replace("`", "")
        advice = _how_it_is_registered(config.id)
        raise UsageError(f"env.id: {config.id!r} is not an environment of this Gymnasium: {said} ({advice})") from error
    except FAILURES as error:
        several = (
            f", of which a run makes {config.num_envs} to train in, and more; where there can be but one, set "
            "env.single_instance=true and env.num_envs=1"
            if isinstance(error, OSError) and not config.single_instance
            else ""
        )
        blamed = blame(error, config.id, f"when it was made{several}")
        if config.kwargs and isinstance(error, TypeError | ValueError | LookupError):
            raise UsageError(f"env.kwargs: {config.id} does not take {config.kwargs}: {blamed}") from error
        raise blamed from error
    for wrap, wrapper in zip(wraps, config.wrappers, strict=True):
        try:
            env = wrap(env)
        except FAILURES as error:
            raise UsageError(f"env.wrappers: {blame(error, wrapper['id'], f'around {config.id}')}") from error
        if "env" not in vars(env):
            raise UsageError(f"env.wrappers: {wrapper['id']}: its __init__ is to begin with super().__init__(env)")
    return env


def _how_it_is_registered(env_id: str) -> str:
    """Return what may make an id known."""
    packages = [package for prefix, package in REGISTERED_BY.items() if env_id.startswith(prefix)]
    if packages:
        return f"pip install {packages[0].replace('_', '-')} brings it"
    if IMPORTED:
        return f"nor has {' or '.join(known.name for known in IMPORTED)}, which was imported, registered it"
    return "if a module of yours registers it, add --import MODULE"


def _space_of(env: gym.Env[Any, Any], env_id: str, name: str) -> gym.Space[Any]:
    space = getattr(env, name, None)
    if not isinstance(space, gym.Space):
        raise PpocliError(f"{env_id}: its {name} is {space!r}; it is to be one of gymnasium.spaces, such as Box")
    return space


class GymnasiumVectorEnv:
    """N Gymnasium environments; each is made when first reset.

    Raises UsageError for one that does not exist or has unsupported spaces, PpocliError for what one raises, or gives
    that it should not, with when it did.
    """

    def __init__(
        self, config: EnvConfig, num_envs: int, render_mode: str | None = None, wraps: Sequence[Wrap] | None = None
    ) -> None:
        self.env_id, self.num_envs, self.info_keys = config.id, num_envs, config.info_keys
        self._config = config
        self._render_mode = render_mode
        self.wraps = wraps_of(config.wrappers) if wraps is None else wraps
        first = make_env(config, self.wraps, render_mode)
        self.spec = _spec_within(first, len(self.wraps))  # what Gymnasium made the environments from
        space = _space_of(first, config.id, "observation_space")
        self.obs_spec, self._flatten = spaces.observations(config.id, space, pictures=config.pictures)
        self.action_space = _space_of(first, config.id, "action_space")
        self.action_spec, self._to_env = spaces.actions(config.id, self.action_space)
        # Gymnasium's own reckon faster with Python's numbers; others expect NumPy's, which others give them.
        self._takes_ints = isinstance(self.action_spec, Discrete) and package_of(config.id) == "gymnasium"
        self.observation_space = space
        self.reward_threshold = self.spec.reward_threshold if self.spec else None
        limit = first.spec.max_episode_steps if first.spec else None  # which a wrapper may have set
        self.episode_limit, self.limit_is_assumed = limit or ASSUMED_LIMIT, not limit
        self.frames_per_second = float(first.metadata.get("render_fps") or 30)  # steps in a second of its own time
        self._made_anew = self.spec is not None and self.spec.name in KEEP_THEIR_WORLD
        self._envs: dict[int, gym.Env[Any, Any]] = {0: first}
        self._mask_source: masks.Source | None = None
        self._read_mask = masks.reader(self.action_spec)
        if config.action_masks and masks.choices_of(self.action_spec):
            some = np.zeros((1, *self.action_spec.shape), self.action_spec.dtype)
            self._mask_source = masks.source(first, self._to_env(some)[0])
        if self._mask_source is not None:
            self.obs_spec = replace(self.obs_spec, num_masked=sum(masks.choices_of(self.action_spec)))
        self._playing = np.zeros(num_envs, dtype=bool)
        self._seeds = [0] * num_envs
        self._steps = np.zeros(num_envs, dtype=int)
        self._obs = np.zeros((num_envs, *self.obs_spec.shape), self.obs_spec.dtype)

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> NDArray[Any]:
        for index, seed in zip(indices, seeds, strict=True):
            if self._made_anew and index in self._envs:
                _close(self.env_id, self._envs.pop(index))
            if index not in self._envs:
                self._envs[index] = make_env(self._config, self.wraps, self._render_mode)
            self._seeds[index], self._steps[index] = seed, 0
            try:
                self._show(index, *begun(self._envs[index].reset(seed=seed)))
            except FAILURES as error:
                raise self._blame(error, index, "reset") from error
            self._playing[index] = True
        return self._obs.copy()

    def step(self, actions: NDArray[Any]) -> Step:
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        infos = np.full((self.num_envs, len(self.info_keys)), np.nan)
        chosen = self._to_env(actions).tolist() if self._takes_ints else self._to_env(actions)
        self._steps += self._playing
        if self.limit_is_assumed:
            truncated |= self._playing & (self._steps >= self.episode_limit)
        index = 0
        try:
            for index in np.flatnonzero(self._playing).tolist():
                obs, reward, terminates, truncates, info = self._envs[index].step(chosen[index])
                rewards[index] = number(reward, "reward")
                terminates, truncates = flag(terminates, "terminated"), flag(truncates, "truncated")
                ends = terminates or truncates or truncated[index]
                self._show(index, obs, info, goes_on=not ends)
                if ends:
                    terminated[index], truncated[index] = terminates, truncates or truncated[index]
                    infos[index] = [number_or_nan(info.get(key)) for key in self.info_keys]
        except FAILURES as error:
            raise self._blame(error, index, "step") from error
        self._playing &= ~(terminated | truncated)
        return Step(self._obs.copy(), rewards, terminated, truncated, infos=infos)

    def _show(self, index: int, obs: Any, info: Mapping[str, Any], *, goes_on: bool = True) -> None:
        """Note what an environment shows now."""
        row = self._flatten(obs)
        if self._mask_source is None:
            self._obs[index] = row
        else:
            self._obs[index, : len(row)] = row
            # After an episode nobody is asked: some have nothing to say any more.
            mask = self._read_mask(self._mask_source(self._envs[index], info)) if goes_on else 1
            numbers(self.obs_spec, self._obs[index])[self.obs_spec.size :] = mask

    def _blame(self, error: BaseException, index: int, method: str) -> PpocliError:
        """Return the error to raise, with how to come to that point again."""
        seed, step = self._seeds[index], self._steps[index]
        when = f"in step {step} of its episode with seed {seed}" if method == "step" else f"with seed {seed}"
        blamed = blame(error, self.env_id, when, getattr(type(self._envs[index].unwrapped), method))
        # Not raised in its code: it does not speak the way that Gymnasium does.
        if not blamed.frames and not isinstance(error, masks.WrongMaskError):
            return PpocliError(f"{blamed}; Gymnasium expects {_EXPECTED[method]}")
        return blamed

    @property
    def shown(self) -> NDArray[Any]:
        """What the first environment shows now, (*obs_spec.shape)."""
        shown: NDArray[Any] = self._obs[0]
        return shown

    def render(self) -> NDArray[np.uint8]:
        """Return what the first environment draws, (height, width, 3). Raises PpocliError."""
        method = type(self._envs[0].unwrapped).render
        try:
            return picture(self._envs[0].render())
        except FAILURES as error:  # each library that draws has errors of its own
            if method is gym.Env.render:
                raise PpocliError(f"{self.env_id} cannot be drawn: it has no method render") from error
            blamed = blame(error, f"{self.env_id} cannot be drawn here", f"as {self._render_mode}", method)
            egl = "; without a screen MuJoCo draws through EGL, Debian's package libegl1"
            raise PpocliError(f"{blamed}{egl if 'mujoco' in sys.modules else ''}", blamed.frames) from error

    def close(self) -> None:
        """See `VectorEnv.close`. Whatever one of them does, this comes to its end."""
        close_envs(self.env_id, self._envs.values())
        self._envs.clear()


def close_envs(env_id: str, envs: Iterable[gym.Env[Any, Any]]) -> None:
    """Close environments, and warn of those that cannot be closed, or not in time."""
    try:
        with at_most(CLOSE_SECONDS):
            for env in envs:
                _close(env_id, env)
    except TimeIsUp:
        warn(f"{env_id}: close() has not ended after {CLOSE_SECONDS:g} s, and is left alone")


def _close(env_id: str, env: gym.Env[Any, Any]) -> None:
    try:
        env.close()
    except FAILURES as error:  # what was found out in it is worth keeping all the same
        warn(str(blame(error, env_id, "when it was closed")))


def _spec_within(env: gym.Env[Any, Any], num_wrappers: int) -> EnvSpec | None:
    for _ in range(num_wrappers):
        assert isinstance(env, gym.Wrapper)
        env = env.env
    return env.spec


_EXPECTED = {
    "reset": "reset(seed=…) to return (observation, info)",
    "step": "step(action) to return (observation, reward, terminated, truncated, info)",
}
