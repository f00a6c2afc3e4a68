"""From Gymnasium's spaces to flat vectors of numbers, and back."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from gymnasium.spaces.utils import flatdim
from numpy.typing import NDArray

from ppocli.envs.api import ActionSpec, Continuous, Discrete, MultiDiscrete, ObsSpec, Vector
from ppocli.envs.given import described
from ppocli.errors import UsageError, warn
from ppocli.guests import UnexpectedError

Array = NDArray[Any]
_OBSERVATIONS = "Box, Discrete, MultiDiscrete, MultiBinary, and Tuple or Dict of those"
_ACTIONS = "Discrete, MultiDiscrete, MultiBinary and Box"


def observations(env_id: str, space: Space[Any]) -> tuple[ObsSpec, Callable[[Any], Array]]:
    """Return the form of an observation for the agent, and what brings one into it, flat by Gymnasium's own rules.

    Numbers stay as they are, a choice out of n becomes n numbers of which one is 1. Raises UsageError; what is returned
    raises UnexpectedError for what is no such observation.
    """
    try:
        flatten, size = _flattener(space), flatdim(space)
    except NotImplementedError as error:
        raise UsageError(f"env.id: {env_id} has observations {space}; supported are {_OBSERVATIONS}") from error
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) > 1:
        warn(f"{env_id}: its observations {space.shape} look like pictures; they are flattened into {size} numbers")

    def flat(obs: Any) -> Array:
        try:
            return flatten(obs)
        except (ValueError, TypeError, LookupError) as error:
            raise UnexpectedError(f"its observation is {described(obs)}, and its observation_space {space}") from error

    return Vector(size), flat


def _flattener(space: Space[Any]) -> Callable[[Any], Array]:
    """Return what makes a vector of an observation, or raises ValueError, TypeError or LookupError."""
    match space:
        case spaces.Box() | spaces.MultiBinary():
            return partial(_numbers, flatdim(space))
        case spaces.Discrete():
            return partial(_one_hot, np.array([space.start]), np.array([space.n]))
        case spaces.MultiDiscrete():
            return partial(_one_hot, space.start.ravel(), space.nvec.ravel())
        case spaces.Tuple():
            parts = [_flattener(part) for part in space.spaces]
            return lambda obs: np.concatenate([part(own) for part, own in zip(parts, obs, strict=True)])
        case spaces.Dict():
            named = {name: _flattener(part) for name, part in space.spaces.items()}
            return lambda obs: np.concatenate([part(obs[name]) for name, part in named.items()])
    raise NotImplementedError


def _numbers(count: int, values: Any) -> Array:
    """Return so many numbers as a vector; what has others, or one number for all, is refused. Raises ValueError."""
    array = np.asarray(values)
    if array.size != count or array.dtype.kind not in "fiub":
        raise ValueError
    return array.reshape(count)


def _one_hot(start: Array, sizes: Array, values: Any) -> Array:
    """Return for each choice as many numbers as it has been made from, all 0 but one. Raises ValueError."""
    choices = _numbers(sizes.size, values) - start
    if (choices < 0).any() or (choices >= sizes).any() or (choices != choices.astype(int)).any():
        raise ValueError
    flat = np.zeros(sizes.sum(), np.float32)
    flat[np.cumsum(sizes) - sizes + choices.astype(int)] = 1
    return flat


def actions(env_id: str, space: Space[Any]) -> tuple[ActionSpec, Callable[[Array], Array]]:
    """Return what the agent's actions are, and what turns a batch of them into the environment's. Raises UsageError."""
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n)), lambda actions: (actions + space.start).astype(space.dtype)
    if isinstance(space, spaces.MultiDiscrete):
        return MultiDiscrete(tuple(space.nvec.ravel().tolist())), lambda actions: _shaped(actions, space) + space.start
    if isinstance(space, spaces.MultiBinary):
        return MultiDiscrete((2,) * int(np.prod(space.shape))), lambda actions: _shaped(actions, space)
    if isinstance(space, spaces.Box):
        bounded = np.isfinite(space.low) & np.isfinite(space.high)
        return Continuous(tuple(bounded.ravel().tolist())), lambda actions: to_box(actions, space)
    raise UsageError(f"env.id: {env_id} has actions {space}; supported are {_ACTIONS}")


def to_box(actions: Array, space: spaces.Box) -> Array:
    """Turn actions (N, size) into those of a Box: (N, *space.shape).

    Where both bounds are finite, −1 … 1 becomes low … high, and what lies outside is clipped first. Elsewhere a number
    stands for itself, clipped where there is one bound.
    """
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    bounded = np.isfinite(low) & np.isfinite(high)
    bottom, width = np.where(bounded, low, 0), np.where(bounded, high, 0) - np.where(bounded, low, 0)
    shaped = actions.reshape(len(actions), *space.shape)
    mapped = np.where(bounded, bottom + (np.clip(shaped, -1, 1) + 1) / 2 * width, shaped).clip(low, high)
    return (mapped if np.issubdtype(space.dtype, np.floating) else mapped.round()).astype(space.dtype)


def _shaped(actions: Array, space: Space[Any]) -> Array:
    assert space.shape is not None
    return actions.reshape(len(actions), *space.shape).astype(space.dtype)
