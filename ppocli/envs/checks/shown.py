"""Questions that an environment has answered by playing: what each of them finds in a trial that has been played."""

import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Space, spaces
from gymnasium.spaces.utils import flatdim
from numpy.typing import NDArray

from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Pictures
from ppocli.envs.checks.trial import Finding, Played, Trial
from ppocli.envs.gymnasium import ASSUMED_LIMIT

ENOUGH_STEPS, ENOUGH_EPISODES = 1_000, 5  # to judge by what has never happened
LIMIT = 1_000  # env steps, for a task whose episodes never end: as Gymnasium's own have it that cannot fail
SMALLEST_TARGET_STD, LARGEST_TARGET_STD = 0.01, 30.0  # of what a critic learns, as in training's hints
LARGEST_OBS, SMALLEST_SPREAD = 10.0, 0.01  # of numbers that a network takes as they are
SMALLEST_SHARE = 1e-5  # of a number that varies: float32 has 24 bits


def limit(trial: Trial) -> Iterator[Finding]:
    """Does every episode come to an end?"""
    played = trial.played
    if played is None or played.limit is not None or trial.failed:
        return
    here = "set env.max_episode_steps"
    if played.episodes or played.env_steps < ENOUGH_STEPS:
        message = f"no time limit: an episode that never ends by itself is truncated after {ASSUMED_LIMIT:,} env steps"
        yield Finding("hint", "limit", message, f"{here} if one may go on for ever")
    else:
        message = f"no time limit, and in {played.env_steps:,} env steps of chance no episode has ended"
        yield Finding("warning", "limit", message, here, {"env.max_episode_steps": LIMIT})


def rewards(trial: Trial) -> Iterator[Finding]:
    """Is there a reward to learn from, and of a size to learn from?"""
    played, rollout = trial.played, trial.config.rollout
    if played is None or trial.failed or not played.env_steps:
        return
    paid = np.concatenate(played.rewards)
    returns = {(episode.episode_return, episode.episode_length) for episode in played.episodes}
    if not paid.any():
        if played.env_steps >= ENOUGH_STEPS:
            message = f"{played.env_steps:,} env steps of chance have paid nothing"
            yield Finding("warning", "rewards", message, "pay for steps on the way, or begin episodes nearer the goal")
        return
    if len(returns) == 1 and len(played.episodes) >= ENOUGH_EPISODES:
        ((paid_each, _),) = returns
        message = f"all {len(played.episodes)} episodes of chance have returned {paid_each:g}"
        yield Finding("hint", "rewards", message, "nothing tells good from bad until one is better by chance")
    std = _target_std(played, rollout.gamma) * rollout.reward_scale
    if SMALLEST_TARGET_STD <= std <= LARGEST_TARGET_STD or not math.isfinite(std) or std < 1e-12:
        return
    if rollout.normalize_rewards:  # which sees to it
        return
    message = f"what a critic is to learn varies by {std:.3g}, and learns best near 1"
    scale = float(f"{rollout.reward_scale * 10.0 ** -round(math.log10(std)):.3g}")
    advice = f"set rollout.reward_scale={scale:g}, or rollout.normalize_rewards=true"
    yield Finding("warning", "rewards", message, advice, {"rollout.reward_scale": scale})


def infos(trial: Trial) -> Iterator[Finding]:
    """Do the infos of episodes' last steps have the numbers that are asked for?"""
    played, asked = trial.played, trial.config.env.info_keys
    if played is None or trial.failed or not played.episodes or asked == EnvConfig(id="any").info_keys:
        return
    told = {key for episode in played.episodes for key in episode.info}
    if missing := [key for key in asked if key not in told]:
        message = f"no episode of chance has ended with {' or '.join(missing)} as a number in its info"
        yield Finding("warning", "infos", message, "let step() tell it in the last step's info, or see env.info_keys")


def _target_std(played: Played, gamma: float) -> float:
    """Return the standard deviation of the discounted returns from each step on."""
    targets = []
    for rewards in played.rewards:
        target = 0.0
        for reward in reversed(rewards):
            target = reward + gamma * target
            targets.append(target)
    return float(np.std(targets))


class Bounds(NamedTuple):
    """Of each number in a flat observation: where it may be, and whether it is a number rather than one of a choice."""

    low: NDArray[Any]
    high: NDArray[Any]
    is_number: NDArray[np.bool_]


def bounds(space: Space[Any]) -> Bounds:
    """Return the bounds of a space, flat by Gymnasium's own rules."""
    match space:
        case spaces.Dict() | spaces.Tuple():
            parts = space.values() if isinstance(space, spaces.Dict) else space.spaces
            return Bounds(*(np.concatenate(values) for values in zip(*map(bounds, parts), strict=True)))
        case spaces.Box():
            return Bounds(space.low.ravel(), space.high.ravel(), np.ones(flatdim(space), bool))
    size = flatdim(space)
    return Bounds(np.zeros(size), np.ones(size), np.full(size, isinstance(space, spaces.MultiBinary)))


def observations(trial: Trial) -> Iterator[Finding]:
    """Are observations where their space has them, do they vary, and are they of a size to learn from?"""
    played = trial.played
    if played is None or not (played.low <= played.high).all():  # none was seen
        return
    yield from _pictures(played)
    if not played.low.size:
        return
    low, high, is_number = bounds(played.numbers_space)
    slack = 1e-6 * (1 + np.maximum(np.abs(played.low), np.abs(played.high)))  # as float32 has them
    outside = (played.low < low - slack) | (played.high > high + slack)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        message = f"{_numbers(outside)} left its space: {_range(played, first)}, not "
        message += f"{low[first]:g} to {high[first]:g}"
        yield Finding("warning", "bounds", message, "widen the space, or clip what is shown")
    if played.env_steps < ENOUGH_STEPS and len(played.episodes) < ENOUGH_EPISODES:
        return
    constant = played.low == played.high
    if constant.all():
        message = f"in {played.env_steps:,} env steps the observation never changed: there is nothing to see"
        yield Finding("warning", "constant", message, "show what the reward depends on")
    elif (constant & is_number).any():
        yield Finding(
            "hint", "constant", f"{_numbers(constant & is_number)} never changed", "leave out what tells nothing"
        )
    yield from _sizes(trial, played, is_number & ~constant)


def _pictures(played: Played) -> Iterator[Finding]:
    """What of an observation's pictures never changed."""
    spec = played.obs_spec
    if isinstance(spec, Pictures) and (played.env_steps >= ENOUGH_STEPS or len(played.episodes) >= ENOUGH_EPISODES):
        for number, (place, form) in enumerate(zip(spec.places, spec.pictures, strict=True), 1):
            if not played.changed[place].any():
                message = f"picture {number}, {' × '.join(map(str, form))}, never changed"
                yield Finding("warning", "constant", message, "see with ppocli render whether it is drawn at all")


def _sizes(trial: Trial, played: Played, varies: NDArray[np.bool_]) -> Iterator[Finding]:
    largest = np.maximum(np.abs(played.low), np.abs(played.high))
    spread = played.high.astype(np.float64) - played.low
    fine = varies & (spread < SMALLEST_SHARE * largest)
    if fine.any():
        message = f"{_numbers(fine)} varied too little for float32: {_range(played, int(np.flatnonzero(fine)[0]))}"
        yield Finding("warning", "scale", message, "subtract what they all have in common, or use another unit")
    odd = varies & ((largest > LARGEST_OBS) | (spread < SMALLEST_SPREAD))
    if odd.any() and not trial.config.network.normalize_obs:
        message = f"{_numbers(odd)} had a size far from 1: {_range(played, int(np.flatnonzero(odd)[0]))}"
        advice = "set network.normalize_obs=true, or bring them to -1 … 1"
        yield Finding("warning", "scale", message, advice, {"network.normalize_obs": True})


def _range(played: Played, index: int) -> str:
    return f"{played.low[index]:g} to {played.high[index]:g}"


def _numbers(which: NDArray[np.bool_]) -> str:
    """Return which numbers of an observation these are."""
    indices = np.flatnonzero(which).tolist()
    runs = [[index for _, index in run] for _, run in groupby(enumerate(indices), lambda pair: pair[1] - pair[0])]
    texts = [f"{run[0]}-{run[-1]}" if run[1:] else str(run[0]) for run in runs]
    listed = ", ".join(texts[:4] + ["…"] * bool(texts[4:]))
    return f"dimension{'s' if indices[1:] else ''} {listed} of the observation's {which.size}"
