"""Learning curves over many runs, as numbers: what figures and reports draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.config.models import KEYS, Config
from ppocli.errors import RunError, one_line
from ppocli.evaluation import NUM_EPISODES
from ppocli.evaluation.estimates import IQM_TRIM, iqm, t_interval
from ppocli.records.info import RunInfo
from ppocli.records.logs import LoggedEpisode
from ppocli.records.run import Run

WINDOW = NUM_EPISODES  # that a running mean is over: as `train` shows, and as decide when it asks if it has solved
POINTS = 300  # places at which the curves of several runs are compared
TAIL = 0.02  # how much longer than the shortest a run must be, as a share, for its end to be shown by itself
SAME_EXPERIMENT = {name for name, key in KEYS.items() if key.same_experiment}
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


@dataclass(frozen=True)
class Group:
    """Runs of one environment with one config, but for the seed."""

    env_id: str
    label: str  # what tells its config from the others'; empty for the only group of its environment
    target: float | None  # the mean return that counts as solved
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Band:
    """A learning curve over the runs of a group."""

    x: Floats  # (G,) env steps or seconds, where every run has something to say
    center: Floats  # (G,) the statistic over the runs
    interval: tuple[Floats, Floats] | None  # (G,) each: 95 % t interval over the runs, None for a single one
    tails: tuple[tuple[Floats, Floats], ...]  # x and y of what each run has beyond that, where it is a good deal


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
    tails = tuple(
        (np.append(end, x[x > end]), np.append(np.interp(end, x, y), y[x > end]))
        for x, y in curves
        if x[-1] > end * (1 + TAIL)
    )
    center, trim = (returns.mean(axis=0), 0.0) if statistic is Statistic.MEAN else (iqm(returns), IQM_TRIM)
    return Band(grid, center, t_interval(returns, trim), tails)


def without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[tuple[Run, Run]]]:
    """Return runs that each have another config or seed, and apart those that repeat one of them, each with that one.

    The same seed of the same config is the same run again, so it counts once; of such runs the one that went farthest
    stays. Raises UsageError, RunError for a run whose config or episodes cannot be read.
    """
    alike: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        config = run.config
        alike.setdefault((repr(_settings(config)), config.train.seed), []).append(run)
    kept, repeats = [], []
    for members in alike.values():
        farthest = max(members, key=_last_env_step) if len(members) > 1 else members[0]
        kept.append(farthest)
        repeats += [(run, farthest) for run in members if run is not farthest]
    return kept, repeats


def _last_env_step(run: Run) -> int:
    return max((episode.env_steps for episode in run.episodes()), default=0)


def groups(runs: Sequence[Run]) -> list[Group]:
    """Sort runs by environment, then by config, in the order in which they come. Raises UsageError, RunError."""
    environments: dict[str, dict[str, tuple[dict[str, Any], list[Run]]]] = {}
    for run in runs:
        settings = _settings(run.config)
        environments.setdefault(settings["env.id"], {}).setdefault(repr(settings), (settings, []))[1].append(run)
    found = []
    for env_id, configs in environments.items():
        firsts = [(members[0].info, settings) for settings, members in configs.values()]
        for (info, settings), (_, members) in zip(firsts, configs.values(), strict=True):
            label = _label(info, settings, firsts) if len(firsts) > 1 else ""
            found.append(Group(env_id, label, info.target_return, tuple(members)))
    return found


def _settings(config: Config) -> dict[str, Any]:
    """Return what of a config makes a run's group."""
    return {key: value for key, value in config.leaves().items() if key not in SAME_EXPERIMENT}


def _label(info: RunInfo, own: Mapping[str, Any], firsts: Sequence[tuple[RunInfo, Mapping[str, Any]]]) -> str:
    """Return what a config is called, and where others are called so, or it has no name, what tells them apart."""
    name = info.config_name
    alike = [settings for other, settings in firsts if other.config_name == name or not name]
    return ", ".join(filter(None, [name, _differences(own, alike) or _overrides(info)]))


def _overrides(info: RunInfo) -> str:
    """Return what the command changed of the config whose name it goes by."""
    told = [override for override in info.overrides if override.partition("=")[0] not in SAME_EXPERIMENT]
    texts = [one_line(override.partition(".")[2]).replace("=", " ", 1) for override in told[:_KEYS_SHOWN]]
    return ", ".join(texts) + (" …" if told[_KEYS_SHOWN:] else "")


def _differences(own: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """Return the values of a config that tell it from others: all, or of as few keys as tell all apart."""
    differing = [key for key in own if any(other[key] != own[key] for other in alike)]

    def told_apart(keys: Sequence[str]) -> int:
        return len({repr([other[key] for key in keys]) for other in alike})

    shown: list[str] = differing if len(differing) <= _KEYS_SHOWN else []
    while told_apart(shown) < told_apart(differing):
        shown.append(max(differing, key=lambda key: told_apart([*shown, key])))
    parts = [f"{key.partition('.')[2]} {_short(own[key])}" for key in shown]
    return ", ".join(parts) + (" …" if len(differing) > len(shown) else "")


def _short(value: Any) -> str:
    if isinstance(value, dict) and {"start", "end"} <= value.keys():
        shape = "" if value.get("shape", "linear") == "linear" else f" ({value['shape']})"
        return f"{_short(value['start'])} → {_short(value['end'])}{shape}"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)
