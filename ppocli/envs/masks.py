"""Which choices are allowed: the two ways in which environments say so, as one vector of 0 and 1.

A method `action_masks()`, as Stable-Baselines3's contributors ask for it, or `action_mask` in the infos, as Gymnasium's
own Taxi has it and its spaces take it. Actions of several choices have the mask of each, one after the other.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ppocli.envs.api import ActionSpec, Continuous, Discrete, ObsSpec, numbers
from ppocli.envs.given import described
from ppocli.guests import FAILURES, UnexpectedError

MASK = "action_mask"


class WrongMaskError(UnexpectedError):
    """It does not say which choices are allowed, though it tries to."""


Source = Callable[[gym.Env[Any, Any], Mapping[str, Any]], Any]
"""From an environment, and what came as info, to what it says is allowed."""


def choices_of(spec: ActionSpec) -> tuple[int, ...]:
    """Return how many choices each part of an action has; none where actions are real numbers."""
    match spec:
        case Discrete():
            return (spec.num_choices,)
        case Continuous():
            return ()
        case _:
            return spec.num_choices


def has_method(env: gym.Env[Any, Any]) -> bool:
    """Whether an environment says by a method what is allowed."""
    return env.has_wrapper_attr("action_masks") and callable(env.get_wrapper_attr("action_masks"))


def by_method(env: gym.Env[Any, Any], info: Mapping[str, Any]) -> Any:
    """Return what an environment's method says."""
    return env.get_wrapper_attr("action_masks")()


def by_info(env: gym.Env[Any, Any], info: Mapping[str, Any]) -> Any:
    """Return what an environment's info says."""
    return info.get(MASK)


def source(env: gym.Env[Any, Any], action: Any) -> Source | None:
    """Return how an environment of choices says what is allowed, None where it does not.

    Where it has no method for it, an episode is begun to look into its info, and the `action` taken in it, the same
    each time, as some do not like to be reset twice in a row. One that fails will fail again.
    """
    if has_method(env):
        return by_method
    with suppress(*FAILURES):
        if MASK in env.reset(seed=0)[1]:
            return by_info
        env.step(action)
    return None


def reader(spec: ActionSpec) -> Callable[[Any], NDArray[np.float32]]:
    """Return what makes a mask, a number for each choice, of what is given while an episode goes on.

    That raises WrongMaskError where it is no mask, or allows nothing.
    """
    choices = choices_of(spec)
    size, cuts = sum(choices), np.cumsum(choices)[:-1].tolist()

    def read(given: Any) -> NDArray[np.float32]:
        try:
            if isinstance(given, list | tuple) and np.ndim(given[0]):
                given = np.concatenate([np.ravel(part) for part in given])
            found = np.asarray(given, np.float32).ravel()
        except (TypeError, ValueError, IndexError):
            found = np.zeros(0, np.float32)
        if found.size != size or not ((found == 0) | (found == 1)).all():
            raise WrongMaskError(f"its action mask is {described(given)}, and no 0 or 1 for each of {size} choices")
        if not all(part.any() for part in np.split(found, cuts)) if cuts else not found.any():
            raise WrongMaskError("its action mask allows nothing, though the episode goes on")
        return found

    return read


def chance(spec: ActionSpec, obs_spec: ObsSpec, obs: NDArray[Any], rngs: Iterable[np.random.Generator]) -> NDArray[Any]:
    """Return an action for each environment, (N, *spec.shape), drawn as `draw` does of what is allowed."""
    masks = numbers(obs_spec, obs)[:, obs_spec.size :]
    return np.array([draw(spec, mask, rng) for mask, rng in zip(masks, rngs, strict=True)], spec.dtype)


def draw(spec: ActionSpec, mask: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Return an action, each alike: of what a mask (num_masked,) allows, where there is one.

    Real numbers are uniform over their bounds, standard normal where there are none.
    """
    if isinstance(spec, Continuous):
        return np.where(spec.bounded, rng.uniform(-1, 1, spec.shape), rng.standard_normal(spec.shape))
    return draw_allowed(mask, spec, rng) if mask.size else np.asarray(rng.integers(spec.num_choices))


def draw_allowed(mask: NDArray[Any], spec: ActionSpec, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return an action that a mask (num_masked,) allows, each alike; where nothing is, as nobody plays, any."""
    parts = np.split(mask, np.cumsum(choices_of(spec))[:-1])
    return np.reshape([rng.choice(np.flatnonzero(part)) if part.any() else 0 for part in parts], spec.shape)
