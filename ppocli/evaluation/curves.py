"""Learning curves over many runs, as numbers: what figures and reports draw."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.config.models import KEYS
from ppocli.config.sections import ALGORITHMS
from ppocli.errors import RunError, one_line
from ppocli.evaluation import NUM_EPISODES
from ppocli.evaluation.estimates import IQM_TRIM, iqm, t_interval
from ppocli.records.logs import LoggedEpisode
from ppocli.records.run import Run

WINDOW = NUM_EPISODES  # that a running mean is over: as `train` shows, and as decide when it asks if it has solved
POINTS = 300  # places at which the curves of several runs are compared
TAIL = 0.02  # how much longer than the shortest a run must be, as a share, for its end to be shown by itself
SAME_EXPERIMENT = {name for name, key in KEYS.items() if key.same_experiment}
WHY_LEFT_OUT = "it ends before its own or another run's first episode does"
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
    label: str  # what tells its config from the others'; empty for the only group of its environment without a name
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
    sums: Floats = np.cumsum(values, dtype=np.float64)
    sums[window:] -= sums[:-window]
    return sums / np.minimum(np.arange(1, len(values) + 1), window)


def learning_curve(episodes: Sequence[LoggedEpisode], axis: Axis) -> tuple[Floats, Floats]:
    """Return where each episode ended, in env steps or seconds, and the running mean of the returns up to it."""
    x = [episode.env_steps if axis is Axis.ENV_STEPS else episode.seconds for episode in episodes]
    return np.asarray(x, dtype=np.float64), running_mean([episode.episode_return for episode in episodes])


def band(runs: Sequence[Run], axis: Axis, statistic: Statistic) -> Band:
    """Return the curve of `overlapping` runs together, from where all have begun to where the first has ended."""
    curves = [learning_curve(run.episodes(), axis) for run in runs]
    begin, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    assert begin <= end, "these runs do not overlap"
    grid = np.linspace(begin, end, POINTS)
    returns = np.stack([np.interp(grid, x, y) for x, y in curves])
    tails = tuple(
        (np.append(end, x[x > end]), np.append(np.interp(end, x, y), y[x > end]))
        for x, y in curves
        if x[-1] > end * (1 + TAIL)
    )
    center, trim = (returns.mean(axis=0), 0.0) if statistic is Statistic.MEAN else (iqm(returns), IQM_TRIM)
    return Band(grid, center, t_interval(returns, trim), tails)


def overlapping(runs: Sequence[Run], axis: Axis) -> list[Run]:
    """Return the runs that have an episode, but for those that end before the first episode of another does."""
    spans = [(run, x[0], x[-1]) for run in runs if (x := learning_curve(run.episodes(), axis)[0]).size]
    begin = max((first for _, first, _ in spans), default=0)
    return [run for run, _, last in spans if last >= begin]


def drawable(runs: Sequence[Run], axis: Axis) -> tuple[list[Run], list[Run]]:
    """Return the runs that overlap with the others of their group, and those that do not. Raises RunError for none."""
    kept = [run for group in groups(runs) for run in overlapping(group.runs, axis)]
    if not kept:
        raise RunError(f"{runs[0].path}: no episode has ended in it yet, so there is nothing to draw")
    return [run for run in runs if run in kept], [run for run in runs if run not in kept]


def without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[tuple[Run, Run]]]:
    """Return runs that each have another config or seed, and apart those that repeat one of them, each with that one.

    The same seed of the same config and code is the same run again, so it counts once; of such runs the one that went
    farthest stays. Raises UsageError, RunError for a run whose config or episodes cannot be read.
    """
    alike: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        began = run.info.begun_from and run.info.begun_from.digest
        alike.setdefault((_canonical([settings_of(run), _code(run), began]), run.config.train.seed), []).append(run)
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
        settings = settings_of(run)
        environments.setdefault(settings["env.id"], {}).setdefault(_canonical(settings), (settings, []))[1].append(run)
    found = []
    for env_id, configs in environments.items():
        called = [(*_title(members, len(configs) == 1), settings) for settings, members in configs.values()]
        for (title, changed, own), (_, members) in zip(called, configs.values(), strict=True):
            alike = [settings for other, _, settings in called if title in ("", other)]
            more = _differences(own, alike) if len(alike) > 1 else changed
            versions = "several versions of the task's code" if len(set(map(_code, members))) > 1 else ""
            label = ", ".join(filter(None, [title, more, versions])) or (
                "the common settings" if len(configs) > 1 else ""
            )
            found.append(Group(env_id, label, members[0].info.target_return, tuple(members)))
    return found


def settings_of(run: Run) -> dict[str, Any]:
    """Return what of a run's config makes its group: what it began with, under dotted keys."""
    leaves = run.first_config.leaves()
    if leaves["train.schedule_env_steps"] == leaves["train.env_steps"]:  # as when the run was prolonged without them
        leaves["train.schedule_env_steps"] = None
    leaves["train.from"] = run.info.begun_from and run.info.begun_from.kind
    leaves["env.action_masks"] = run.info.masks_actions  # what it would do with masks is no matter where there are none
    if not run.info.sees_pictures:  # as what it would do with them is no matter either
        leaves |= dict.fromkeys(("env.pictures", "network.cnn", "network.shared_cnn"))
    return {key: value for key, value in leaves.items() if key not in SAME_EXPERIMENT}


def _code(run: Run) -> tuple[str, ...]:
    """Return the digests of what was imported for a run."""
    return tuple(known.digest for known in run.info.imports)


def differing_keys(alike: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys in which the settings of some groups differ, of those whose algorithm reads them."""

    def values(key: str) -> set[str]:
        return {_canonical(settings[key]) for settings in alike if _reads(settings, key)}

    return [key for key in alike[0] if len(values(key)) > 1]


def _reads(settings: Mapping[str, Any], key: str) -> bool:
    """Whether a key is not of the section of another algorithm."""
    section = key.partition(".")[0]
    return section not in ALGORITHMS or section == settings["algorithm"]


def _canonical(value: Any) -> str:
    """Return text that is the same for equal values: a mapping in whatever order, and 1 as well as 1.0."""
    return json.dumps(json.loads(json.dumps(value), parse_int=float), sort_keys=True)


def _title(runs: Sequence[Run], alone: bool) -> tuple[str, str]:
    """Return the name that all runs of a group have; or what its config is called, and what was changed of it."""
    info = runs[0].info
    if info.name and all(run.info.name == info.name for run in runs):
        return one_line(info.name), ""
    changes = [override for override in info.overrides if override.partition("=")[0] not in SAME_EXPERIMENT]
    pairs = (override.partition("=") for override in changes[:_KEYS_SHOWN])  # in a stranger's run.json it may be none
    told = [one_line(_told(key, value)) for key, _, value in pairs]
    return ("", "") if alone else (info.config_name, ", ".join(told) + (" …" if changes[_KEYS_SHOWN:] else ""))


def _differences(own: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """Return the values that most of some configs have not: of all keys, or of as few as tell all apart.

    By which algorithm each learned is always said, where they differ in it.
    """
    values = {key: [_canonical(other[key]) for other in alike] for key in differing_keys(alike)}

    def told_apart(keys: Sequence[str]) -> int:
        return len(set(zip(*map(values.__getitem__, keys), strict=True)))

    shown = list(values) if len(values) <= _KEYS_SHOWN else [key for key in values if key == "algorithm"]
    while told_apart(shown) < len(alike):
        shown.append(max(values, key=lambda key: told_apart([*shown, key])))
    special = [
        key
        for key in values
        if key == "algorithm" or (_reads(own, key) and 2 * values[key].count(_canonical(own[key])) <= len(alike))
    ]
    told = [key for key in shown if key in special] or special[:_KEYS_SHOWN]
    parts = [_told(key, short(own[key])) for key in told]
    return ", ".join(parts) + (" …" if len(special) > len(told) else "")


def _told(key: str, value: str) -> str:
    """Return a key and its value as labels have them; an algorithm's name tells by itself what it is."""
    return value if key == "algorithm" else f"{key.partition('.')[2]} {value}"


def short(value: Any) -> str:
    """Return a value of a config as labels and tables have it."""
    if isinstance(value, dict) and {"start", "end"} <= value.keys():
        shape = "" if value.get("shape", "linear") == "linear" else f" ({value['shape']})"
        return f"{short(value['start'])} → {short(value['end'])}{shape}"
    if isinstance(value, dict):
        return ", ".join(f"{name}={short(item)}" for name, item in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "none" if value is None else str(value)
