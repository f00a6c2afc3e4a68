"""Learning curves over many runs, as numbers: what figures and reports draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.errors import RunError
from ppocli.estimates import Estimate, interval, iqm, mean
from ppocli.logs import LoggedEpisode
from ppocli.runs import Run

WINDOW = 100
"""Episodes that a running mean is over: as many as `train` shows, and as decide when it asks whether it has solved."""
POINTS = 300
"""Places at which the curves of several runs are compared."""
IRRELEVANT = {"train.seed", "train.device", "train.checkpoint_interval", "env.workers"}
"""Keys of a config that may differ between runs of one group: results are not meant to depend on them."""

_KEYS_SHOWN = 3
Floats = NDArray[np.float64]


class Axis(StrEnum):
    """What a learning curve is drawn over."""

    ENV_STEPS = "env-steps"
    SECONDS = "seconds"


class Statistic(StrEnum):
    """How the runs of a group become one curve."""

    MEAN = "mean"
    IQM = "iqm"

    @property
    def estimate(self) -> Estimate:
        """The function that computes it."""
        return mean if self is Statistic.MEAN else iqm

    @property
    def words(self) -> str:
        """What it is called."""
        return "mean" if self is Statistic.MEAN else "interquartile mean"


@dataclass(frozen=True)
class Group:
    """Runs of one environment with one config, but for the seed."""

    env_id: str
    label: str
    """What tells its config from the others'; empty for the only group of its environment."""
    target: float | None
    """The mean return that counts as solved."""
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Band:
    """A learning curve over the runs of a group."""

    x: Floats
    """(G,) env steps or seconds, where every run has something to say."""
    center: Floats
    """(G,) the statistic over the runs."""
    interval: tuple[Floats, Floats] | None
    """(G,) each: its 95 % bootstrap interval over the runs, None for a single run."""


def running_mean(values: Sequence[float], window: int = WINDOW) -> Floats:
    """Return for each of `values` (E,) the mean of it and up to `window` − 1 before it."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(ends - window, 0)
    means: Floats = (sums[ends] - sums[begins]) / (ends - begins)
    return means


def episodes_of(run: Run) -> list[LoggedEpisode]:
    """Return a run's training episodes, at least one. Raises RunError."""
    if not (episodes := run.episodes()):
        raise RunError(f"{run.path}: no episode has ended in it yet, so there is nothing to draw")
    return episodes


def learning_curve(episodes: Sequence[LoggedEpisode], axis: Axis) -> tuple[Floats, Floats]:
    """Return where each episode ended, in env steps or seconds, and the running mean of the returns up to it."""
    x = [episode.env_steps if axis is Axis.ENV_STEPS else episode.seconds for episode in episodes]
    return np.asarray(x, dtype=np.float64), running_mean([episode.episode_return for episode in episodes])


def band(runs: Sequence[Run], axis: Axis, statistic: Statistic) -> Band:
    """Return the learning curve of runs together, from where all have begun to where the first has ended.

    Raises RunError for a run in which no episode has ended yet, or none before another of them ends.
    """
    curves = [learning_curve(episodes_of(run), axis) for run in runs]
    begin, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if begin > end:
        shortest = min(zip(curves, runs, strict=True), key=lambda curve: curve[0][0][-1])[1]
        raise RunError(f"{shortest.path}: it ends before another run's first episode does; leave it out")
    grid = np.linspace(begin, end, POINTS)
    returns = np.stack([np.interp(grid, x, y) for x, y in curves])
    return Band(grid, statistic.estimate(returns), interval(returns, statistic.estimate))


def groups(runs: Sequence[Run]) -> list[Group]:
    """Sort runs by environment and config, in the order in which they come.

    Raises UsageError, RunError for a run whose config cannot be read.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    settings: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        relevant = {key: value for key, value in run.config.leaves().items() if key not in IRRELEVANT}
        key = (relevant.pop("env.id"), repr(relevant))
        settings[key] = relevant
        found.setdefault(key, []).append(run)
    return [
        Group(
            env_id=key[0],
            label=_label(settings[key], [settings[other] for other in found if other[0] == key[0]]),
            target=members[0].facts.target_return,
            runs=tuple(members),
        )
        for key, members in found.items()
    ]


def _label(own: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """Return the values of the keys in which the configs of an environment differ, the first few of them."""
    differing = [key for key in own if any(other[key] != own[key] for other in alike)]
    parts = [f"{key.partition('.')[2]} {_short(own[key])}" for key in differing[:_KEYS_SHOWN]]
    return ", ".join(parts) + (" …" if differing[_KEYS_SHOWN:] else "")


def _short(value: Any) -> str:
    if isinstance(value, dict) and {"start", "end"} <= value.keys():
        return f"{value['start']:g} → {value['end']:g}"
    return f"{value:g}" if isinstance(value, float) else str(value)
