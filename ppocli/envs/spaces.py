"""From Gymnasium's spaces to rows of numbers, or of bytes where there are pictures, and back."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from gymnasium.spaces.utils import flatdim
from numpy.typing import NDArray

from ppocli.envs.api import ActionSpec, Continuous, Discrete, MultiDiscrete, ObsSpec, Pictures, Vector, numbers
from ppocli.envs.given import described
from ppocli.errors import UsageError, warn
from ppocli.guests import UnexpectedError

Array = NDArray[Any]
_OBSERVATIONS = "Box, Discrete, MultiDiscrete, MultiBinary, and Tuple or Dict of those"
SMALLEST_SIDE = 16  # of a picture, in pixels
_ACTIONS = "Discrete, MultiDiscrete, MultiBinary and Box"


def observations(env_id: str, space: Space[Any], *, pictures: bool = True) -> tuple[ObsSpec, Callable[[Any], Array]]:
    """Return the form of an observation for the agent, and what brings one into it, as one row.

    What looks like a picture (see `picture_in`) is one, with `pictures`; all else is flat by Gymnasium's own rules:
    numbers stay as they are, a choice out of n becomes n numbers of which one is 1. Raises UsageError; what is returned
    raises UnexpectedError for what is no such observation.
    """
    try:
        parts = [*leaves(space)]
        seen = [(leaf, found) for leaf in parts if pictures and (found := picture_in(leaf.space))]
        if seen:
            others = [leaf for leaf in parts if not picture_in(leaf.space)]
            form: tuple[ObsSpec, Callable[[Any], Array]] = _with_pictures(seen, others)
        else:
            form = Vector(flatdim(space)), _flattener(space)
            if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) > 1:
                seen_as = f"they are flattened into {flatdim(space)} numbers"
                warn(f"{env_id}: its observations {space.shape} look like pictures; {seen_as}")
    except NotImplementedError as error:
        raise UsageError(f"env.id: {env_id} has observations {space}; supported are {_OBSERVATIONS}") from error

    spec, flatten = form

    def flat(obs: Any) -> Array:
        try:
            return flatten(obs)
        except (ValueError, TypeError, LookupError) as error:
            raise UnexpectedError(f"its observation is {described(obs)}, and its observation_space {space}") from error

    return spec, flat


def without_pictures(space: Space[Any], spec: ObsSpec) -> Space[Any]:
    """Return what of a space is numbers where observations have such a form, flat in the same order."""
    if isinstance(spec, Vector):
        return space
    return spaces.Tuple([leaf.space for leaf in leaves(space) if not picture_in(leaf.space)])


@dataclass(frozen=True)
class Leaf:
    """A part of an observation that has none itself."""

    keys: tuple[Any, ...]  # on the way there
    space: Space[Any]

    @property
    def name(self) -> str:
        """What it is called: those keys, with dots; nothing where it is the whole."""
        return ".".join(map(str, self.keys))

    def of(self, obs: Any) -> Any:
        """Return it, of an observation or of several that a vectorised environment has."""
        for key in self.keys:
            obs = obs[key]
        return obs


def leaves(space: Space[Any], *keys: Any) -> Iterator[Leaf]:
    """Yield the parts of observations, in the order in which Gymnasium flattens them; `keys` lead to the space."""
    match space:
        case spaces.Tuple():
            parts: Iterable[tuple[Any, Space[Any]]] = enumerate(space.spaces)
        case spaces.Dict():
            parts = space.spaces.items()
        case _:
            yield Leaf(keys, space)
            return
    for key, part in parts:
        yield from leaves(part, *keys, key)


@dataclass(frozen=True)
class Picture:
    """How a Box of bytes is a picture: perhaps a stack of those, each with its channels before or after."""

    shape: tuple[int, ...]  # of the Box
    axes: tuple[int, int, int]  # of its last three, in the order of channels, height, width

    @property
    def last(self) -> tuple[int, ...]:
        """The last three axes of the Box, a single channel before where there is none."""
        return self.shape[-3:] if len(self.shape) > 2 else (1, *self.shape)

    @property
    def form(self) -> tuple[int, int, int]:
        """(channels, height, width), the channels being those of the whole stack."""
        channels, height, width = (self.last[axis] for axis in self.axes)
        return math.prod(self.shape[:-3]) * channels, height, width

    def arranged(self, picture: Array) -> Array:
        """Return a picture as (channels, height, width). Raises ValueError for what is none."""
        if picture.shape != self.shape or picture.dtype != np.uint8:
            raise ValueError
        each = picture.reshape(-1, *self.last)
        return each.transpose(0, *(1 + axis for axis in self.axes)).reshape(self.form)


def picture_in(space: Space[Any]) -> Picture | None:
    """Return how what a space has is a picture; None for what is none.

    It is bytes, (height, width), with channels before or after these, whichever axis is the shorter, and perhaps a
    stack of these; no side is shorter than SMALLEST_SIDE: on a board of codes there is nothing to see.
    """
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or not 2 <= len(space.shape) <= 4:
        return None
    first, _, last = space.shape[-3:] if len(space.shape) > 2 else (1, *space.shape)
    picture = Picture(space.shape, (0, 1, 2) if first < last else (2, 0, 1))
    return picture if min(picture.form[1:]) >= SMALLEST_SIDE else None


def _with_pictures(
    seen: Sequence[tuple[Leaf, Picture]], others: Sequence[Leaf]
) -> tuple[Pictures, Callable[[Any], Array]]:
    """Return the form of pictures and of what is beside them, and what makes a row of bytes of an observation."""
    spec = Pictures(tuple(picture.form for _, picture in seen), size=sum(flatdim(leaf.space) for leaf in others))
    beside = [(leaf, _flattener(leaf.space)) for leaf in others]
    places = spec.places

    def row(obs: Any) -> Array:
        bytes_ = np.zeros(spec.shape, np.uint8)
        for place, (leaf, picture) in zip(places, seen, strict=True):
            bytes_[place] = picture.arranged(np.asarray(leaf.of(obs))).ravel()
        if beside:
            numbers(spec, bytes_)[:] = np.concatenate([flatten(leaf.of(obs)) for leaf, flatten in beside])
        return bytes_

    return spec, row


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
