"""Wrappers that a config names: of Gymnasium's own those that suit a training, and classes of the user's."""

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from ppocli.config.values import Wrapper
from ppocli.errors import UsageError
from ppocli.guests import is_imported


class SelectObservation(gym.ObservationWrapper[Any, Any, Any]):
    """Some numbers of an observation, those at `indices` along its first axis: what is left out stays unseen."""

    def __init__(self, env: gym.Env[Any, Any], indices: Sequence[int]) -> None:
        super().__init__(env)
        box, self._indices = env.observation_space, list(indices)
        if not isinstance(box, gym.spaces.Box):
            raise TypeError(f"observations are {box}; it takes numbers out of a Box")
        if not self._indices or not all(type(index) is int for index in self._indices):
            raise ValueError(f"indices: {indices!r} is to be a list of whole numbers, from 0 on")
        self.observation_space = gym.spaces.Box(box.low[self._indices], box.high[self._indices], dtype=box.dtype.type)

    def observation(self, observation: Any) -> Any:
        """Return the numbers that are left."""
        return observation[self._indices]


class TerminateOnLifeLoss(gym.Wrapper[Any, Any, Any, Any]):
    """An Atari game that ends with the first of its lives: in training, a loss is felt at once."""

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Count how many lives there are."""
        obs, info = self.env.reset(**kwargs)
        if "lives" not in info:
            raise gym.error.Error("TerminateOnLifeLoss: the infos have no `lives`, as those of Atari's games have")
        self._lives = info["lives"]
        return obs, info

    def step(self, action: Any) -> Any:
        """Terminate where there are fewer."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        lost, self._lives = info["lives"] < self._lives, info["lives"]
        return obs, reward, terminated or lost, truncated, info


OWN = {"SelectObservation": SelectObservation, "TerminateOnLifeLoss": TerminateOnLifeLoss}
Wrap = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
GYMNASIUMS = (
    *("AtariPreprocessing", "ClipAction", "ClipReward", "DelayObservation", "DiscretizeAction"),
    *("DiscretizeObservation", "DtypeObservation", "FilterObservation", "FlattenObservation", "FrameStackObservation"),
    *("GrayscaleObservation", "MaxAndSkipObservation", "RepeatAction", "RescaleAction", "RescaleObservation"),
    *("ReshapeObservation", "ResizeObservation", "StickyAction", "TimeAwareObservation", "TimeLimit"),
)
"""None that takes a function, which a config cannot hold, none that resets by itself, records, or normalises, which is
the agent's business."""


def wraps_of(wrappers: Sequence[Wrapper]) -> list[Wrap]:
    """Return what to put around an environment, one after the other. Raises UsageError for one that is not known."""
    return [partial(_class(wrapper["id"]), **_arguments(wrapper)) for wrapper in wrappers]


def _arguments(wrapper: Wrapper) -> Wrapper:
    given = {name: value for name, value in wrapper.items() if name not in ("id", "training_only")}
    if wrapper["id"] not in GYMNASIUMS:
        return given
    # Some of Gymnasium's insist on a tuple, or on an array of numbers, which YAML has not.
    as_they_want = np.array if wrapper["id"].startswith("Rescale") else tuple
    return {name: as_they_want(value) if isinstance(value, list) else value for name, value in given.items()}


def _class(name: str) -> type[gym.Wrapper[Any, Any, Any, Any]]:
    module, separator, class_name = name.rpartition(":")
    if name in OWN:
        return OWN[name]
    if not separator and name in GYMNASIUMS:
        theirs: type[gym.Wrapper[Any, Any, Any, Any]] = getattr(gym.wrappers, name)
        return theirs
    if not separator:
        if name.startswith("Normalize"):
            raise UsageError(
                f"env.wrappers: {name}: the agent sees to that itself: network.normalize_obs, rollout.normalize_rewards"
            )
        names = [*GYMNASIUMS, *OWN]
        near = get_close_matches(name, names, 1)
        known = f"did you mean {near[0]}? One" if near else f"it is none of {', '.join(names)}; one"
        raise UsageError(f"env.wrappers: {name!r}: {known} of your own is written module:Class")
    if module not in sys.modules or not is_imported(module.partition(".")[0]):
        raise UsageError(f"env.wrappers: {name}: nobody has imported {module}; add --import {module}")
    found = getattr(sys.modules[module], class_name, None)
    if found is None:
        raise UsageError(f"env.wrappers: {module} has nothing of the name {class_name}")
    if not (isinstance(found, type) and issubclass(found, gym.Wrapper)):
        raise UsageError(f"env.wrappers: {name} is no subclass of gymnasium.Wrapper")
    return found
