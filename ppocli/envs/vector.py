"""The backend `vector`: an environment's own vectorised form, all copies stepped by one call, as on an accelerator."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from ppocli.config.sections import EnvConfig
from ppocli.envs import masks, spaces
from ppocli.envs.api import Step, Vector, numbers
from ppocli.envs.given import begun, described, number_or_nan
from ppocli.envs.gymnasium import ASSUMED_LIMIT, register
from ppocli.errors import PpocliError, UsageError
from ppocli.guests import FAILURES, UnexpectedError, blame


class OwnVectorEnv:
    """N environments as the `vector_entry_point` of their registration makes them.

    It must begin single episodes anew by `reset(seed=[…], options={"reset_mask": …})`, and say so by the autoreset mode
    DISABLED. Copies whose episode has ended play on unseen until they are reset. Raises UsageError and PpocliError as
    `GymnasiumVectorEnv` does.
    """

    reward_threshold: float | None = None  # nobody asks: agents are evaluated in the environment's single form

    def __init__(self, config: EnvConfig, num_envs: int) -> None:
        self.env_id, self.num_envs, self.info_keys = config.id, num_envs, config.info_keys
        self._envs = _made(config, num_envs)
        limit = config.max_episode_steps or gym.spec(config.id).max_episode_steps
        self.episode_limit, self.limit_is_assumed = limit or ASSUMED_LIMIT, not limit
        space = self._envs.single_observation_space
        self.obs_spec, self._flatten = spaces.observations(config.id, space, pictures=config.pictures)
        is_array = isinstance(space, gym.spaces.Box | gym.spaces.MultiBinary)
        self._needs_no_loop = is_array and isinstance(self.obs_spec, Vector)
        self.action_spec, self._to_env = spaces.actions(config.id, self._envs.single_action_space)
        self._read_mask = masks.reader(self.action_spec)
        self._steps, self._seeds = np.zeros((2, num_envs), dtype=int)
        self._playing, self._over = np.zeros((2, num_envs), dtype=bool)
        everywhere = np.ones(num_envs, dtype=bool)
        obs, infos = self._begun(everywhere)
        if config.action_masks and masks.choices_of(self.action_spec) and self._given_masks(infos) is not None:
            self.obs_spec = replace(self.obs_spec, num_masked=sum(masks.choices_of(self.action_spec)))
        self._shown = np.zeros((num_envs, *self.obs_spec.shape), self.obs_spec.dtype)  # by the unseen, too
        self._note(everywhere, obs, infos)
        self._obs = np.zeros_like(self._shown)

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> NDArray[Any]:
        if len(indices):
            named = np.zeros(self.num_envs, dtype=bool)
            named[list(indices)] = True
            self._seeds[list(indices)] = seeds
            self._note(named, *self._begun(named))
            self._obs[named] = self._shown[named]
            self._playing |= named
        return self._obs.copy()

    def step(self, actions: NDArray[Any]) -> Step:
        playing = self._playing.copy()
        if not playing.all():
            actions = self._with_those_of_the_unseen(actions)
        self._steps += 1
        try:
            obs, paid, terminates, truncates, infos = self._envs.step(self._to_env(actions))
            rewards = self._one_each(paid, "rewards").astype(np.float64)
            terminated = self._one_each(terminates, "terminated").astype(bool)
            truncated = self._one_each(truncates, "truncated").astype(bool)
        except FAILURES as error:
            raise self._blame(error, "step") from error
        truncated |= self._steps >= self.episode_limit  # which such environments are told, and may forget
        self._over = terminated | truncated
        self._note(np.ones(self.num_envs, dtype=bool), obs, infos)
        self._obs[playing] = self._shown[playing]
        self._playing &= ~self._over
        ended = playing & self._over
        return Step(
            self._obs.copy(), rewards * playing, terminated & playing, truncated & playing, self._infos(infos, ended)
        )

    def close(self) -> None:
        self._envs.close()

    def _begun(self, named: NDArray[np.bool_]) -> tuple[Any, Mapping[str, Any]]:
        """Begin the episodes of the named copies with their seeds; return all observations, and the infos."""
        self._steps[named], self._over[named] = 0, False
        try:
            return begun(self._envs.reset(seed=self._seeds.tolist(), options={"reset_mask": named}))
        except FAILURES as error:
            raise self._blame(error, "reset") from error

    def _with_those_of_the_unseen(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Have those begin anew that have ended and were not reset; return actions that all copies allow."""
        if self._over.any():
            over = self._over.copy()
            self._note(over, *self._begun(over))
        if self.obs_spec.num_masked:
            actions, rng = actions.copy(), np.random.default_rng(0)
            for index in np.flatnonzero(~self._playing).tolist():
                mask = numbers(self.obs_spec, self._shown[index])[self.obs_spec.size :]
                actions[index] = masks.draw_allowed(mask, self.action_spec, rng)
        return actions

    def _note(self, named: NDArray[np.bool_], obs: Any, infos: Mapping[str, Any]) -> None:
        """Note what the named copies show now."""
        try:
            rows = self._flat(obs)
            self._shown[named, : rows.shape[1]] = rows[named]
            if self.obs_spec.num_masked:
                shown, given = numbers(self.obs_spec, self._shown)[:, self.obs_spec.size :], self._given_masks(infos)
                shown[named] = 1  # whatever those have to say whose episode is over
                for index in np.flatnonzero(named & ~self._over).tolist():
                    shown[index] = self._read_mask(None if given is None else given[index])
        except FAILURES as error:
            raise self._blame(error, "step") from error

    def _flat(self, obs: Any) -> NDArray[Any]:
        """Return observations as rows, without masks."""
        space = self._envs.single_observation_space
        if not self._needs_no_loop:
            return np.stack([self._flatten(one) for one in iterate(self._envs.observation_space, obs)])
        array = np.asarray(obs)
        if array.shape != (self.num_envs, *(space.shape or ())) or array.dtype.kind not in "fiub":
            raise UnexpectedError(f"its observations are {described(obs)}, and its single_observation_space {space}")
        return array.reshape(self.num_envs, -1)

    def _given_masks(self, infos: Mapping[str, Any]) -> Any:
        method: Callable[[], Any] | None = getattr(self._envs.unwrapped, "action_masks", None)
        return infos.get(masks.MASK) if method is None else method()

    def _one_each(self, given: Any, name: str) -> NDArray[Any]:
        array = np.asarray(given)
        if array.shape != (self.num_envs,) or array.dtype.kind not in "fiub":
            raise UnexpectedError(f"its {name} are {described(given)}, and not one for each of {self.num_envs}")
        return array

    def _infos(self, infos: Mapping[str, Any], ended: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return (N, len(info_keys)): what came with the ends of episodes, else NaN."""
        found = np.full((self.num_envs, len(self.info_keys)), np.nan)
        for column, key in enumerate(self.info_keys):
            if key in infos:
                has = ended & infos.get(f"_{key}", True)
                found[has, column] = [number_or_nan(value) for value in np.asarray(infos[key])[has]]
        return found

    def _blame(self, error: BaseException, method: str) -> PpocliError:
        when = f"in {method}() of all {self.num_envs} copies (env.backend: vector)"
        return blame(error, self.env_id, when, getattr(type(self._envs.unwrapped), method))


def _made(config: EnvConfig, num_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Make the environments. Raises UsageError where there is no such form, or none that can be used."""
    register(config.id)
    limit = {"max_episode_steps": config.max_episode_steps} if config.max_episode_steps else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is an error below
            kwargs = copy.deepcopy(config.kwargs) | limit
            envs = gym.make_vec(config.id, num_envs, vectorization_mode="vector_entry_point", **kwargs)
    except gym.error.Error as error:
        advice = str(error).replace("`", "")
        raise UsageError(f"env.backend: vector: {config.id}: {advice}; env.backend: gymnasium needs none") from error
    except FAILURES as error:
        raise blame(error, config.id, f"when {num_envs} copies were made at once (env.backend: vector)") from error
    mode = envs.metadata.get("autoreset_mode")
    if mode is not AutoresetMode.DISABLED:
        envs.close()
        raise UsageError(
            f"env.backend: vector: {config.id} has the autoreset mode {getattr(mode, 'name', mode)}, and is to have "
            "DISABLED and begin anew whom reset(options={'reset_mask': …}) names; env.backend: gymnasium needs none"
        )
    return envs
