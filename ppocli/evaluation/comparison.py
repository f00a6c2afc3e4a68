"""Which of two settings is better, by how much, and how sure that is, over seeds.

Sources: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, arXiv:2108.13264, for the
probability of improvement and interquartile means; Welch, Biometrika 34, 1947, for means of unequal variances; Kaplan
and Meier, JASA 53, 1958, for times of which some were not waited for.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.errors import UsageError
from ppocli.evaluation.curves import Group, differing_keys, groups, settings_of, short
from ppocli.evaluation.estimates import RESAMPLES, iqm, t_interval
from ppocli.evaluation.results import evaluation_of
from ppocli.records.run import Run

CONFIDENCE, POWER = 0.95, 0.8
FEWEST_TO_RESAMPLE = 10  # seeds of each, from which on a bootstrap over seeds covers what it promises, nearly
MOST_SEEDS = 10_000  # that are worth naming
Floats = NDArray[np.float64]
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Times:
    """When the runs of a group had solved their task."""

    solved: int
    median: float | None  # Kaplan and Meier's; None where too few had when the others were no longer waited for
    at_least: float  # what the median is beyond where it is None


@dataclass(frozen=True)
class Difference:
    """What one group of runs returned more than another, over seeds."""

    mean: float
    interval: Interval  # 95 %; None where one of them has a single seed
    paired: bool  # whether it is over pairs of the same seed
    p_improvement: float  # P(a run of it returns more than one of the other), ties counting half
    p_improvement_interval: Interval  # None below FEWEST_TO_RESAMPLE seeds
    seeds_needed: int | None  # of each, to tell such a difference; None where none would, or it is told already

    @property
    def is_told(self) -> bool:
        """Whether these seeds tell which is better."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


@dataclass(frozen=True)
class Scores:
    """How the runs of a group did: each run's score is its best agent's mean return over unseen episodes."""

    label: str
    settings: dict[str, str]  # under dotted keys, those in which the groups differ
    seeds: list[int]
    returns: list[float]  # of each seed
    mean: float
    interval: Interval  # 95 % t interval over seeds
    iqm: float
    iqm_interval: Interval
    env_steps_to_target: Times | None  # None where the task has no target
    seconds_to_target: Times | None
    difference: "Difference | None"  # from the first group, None of that itself


@dataclass(frozen=True)
class Comparison:
    """Groups of runs of one environment, beside the first of them."""

    env_id: str
    groups: list[Scores]


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Compare the configs of runs, each with the first of its environment; agents that have not been evaluated are.

    Raises UsageError where there are not two of any environment, and what `evaluation_of` raises.
    """
    found = [
        Comparison(env_id, _scores(list(members)))
        for env_id, members in groupby(groups(runs), key=lambda group: group.env_id)
    ]
    if all(len(one.groups) < 2 for one in found):
        raise UsageError("compare takes runs of two configs at least; these are of one, but for their seeds")
    return [one for one in found if len(one.groups) > 1]


def _scores(members: Sequence[Group]) -> list[Scores]:
    settings = [settings_of(group.runs[0]) for group in members]
    differing = differing_keys(settings)
    base: dict[int, float] = {}
    found = []
    for group, own in zip(members, settings, strict=True):
        by_seed = {run.config.train.seed: float(np.mean(evaluation_of(run).episode_returns)) for run in group.runs}
        scores = np.array(list(by_seed.values()))
        bounds, has_target = t_interval(scores), group.target is not None
        solved, ends = [run.info.solved for run in group.runs], [run.metrics()[-1] for run in group.runs]
        steps = times([one.env_steps if one else None for one in solved], [row.env_steps for row in ends])
        seconds = times([one.seconds if one else None for one in solved], [row.seconds for row in ends])
        found.append(
            Scores(
                label=group.label,
                settings={key: short(own[key]) for key in differing},
                seeds=list(by_seed),
                returns=list(by_seed.values()),
                mean=float(scores.mean()),
                interval=None if bounds is None else (float(bounds[0]), float(bounds[1])),
                iqm=float(iqm(scores)),
                iqm_interval=iqm_interval_over_seeds(scores),
                env_steps_to_target=steps if has_target else None,
                seconds_to_target=seconds if has_target else None,
                difference=difference(base, by_seed) if base else None,
            )
        )
        base = base or by_seed
    return found


def difference(base: dict[int, float], other: dict[int, float]) -> Difference:
    """Compare the scores of two groups of runs, each under its seed: what `other` has more than `base`."""
    ours, theirs = (np.array(list(scores.values()), np.float64) for scores in (base, other))
    mean = float(theirs.mean() - ours.mean())
    paired = base.keys() == other.keys() and len(base) > 1
    if paired:
        pairs = np.array([other[seed] - base[seed] for seed in base])
        bounds, spread = t_interval(pairs), float(pairs.std(ddof=1))
        interval = None if bounds is None else (float(bounds[0]), float(bounds[1]))
    else:
        interval = welch_interval(ours, theirs)
        spread = math.sqrt(sum(one.var(ddof=1) for one in (ours, theirs))) if interval else 0.0
    found = Difference(
        mean=mean,
        interval=interval,
        paired=paired,
        p_improvement=probability_of_improvement(ours, theirs),
        p_improvement_interval=_resampled(ours, theirs),
        seeds_needed=None,
    )
    if interval is None or found.is_told:
        return found
    return replace(found, seeds_needed=seeds_needed(mean, spread, paired=paired))


def welch_interval(base: Floats, other: Floats) -> Interval:
    """Return the 95 % interval of the difference of two means, of samples (S,), None where one has a single sample."""
    if min(len(base), len(other)) < 2:
        return None
    from scipy.special import stdtrit

    variances = [one.var(ddof=1) / len(one) for one in (base, other)]
    mean, error = float(other.mean() - base.mean()), math.sqrt(sum(variances))
    if error == 0:
        return mean, mean
    freedom = sum(variances) ** 2 / sum(v**2 / (len(one) - 1) for v, one in zip(variances, (base, other), strict=True))
    margin = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return mean - margin, mean + margin


def probability_of_improvement(base: Floats, other: Floats) -> float:
    """Return the share of pairs in which one of `other` (S,) is above one of `base` (R,), ties counting half."""
    pairs = other[:, None] - base[None, :]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def seeds_needed(mean: float, spread: float, *, paired: bool) -> int | None:
    """Return how many seeds of each would tell such a difference with 80 % power, None where more than any would run.

    `spread` is the standard deviation of what is compared: of pairs, or the root of both variances' sum.
    """
    if mean == 0 or spread == 0:
        return None
    from scipy import stats

    effect = abs(mean) / spread

    def power(count: int) -> float:
        freedom = count - 1 if paired else 2 * (count - 1)
        limit = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
        return float(stats.nct.sf(limit, freedom, effect * math.sqrt(count)))

    counts = range(2, MOST_SEEDS)  # of which more have more power
    place = bisect_left(counts, POWER, key=power)
    return counts[place] if place < len(counts) else None


def times(solved_at: Sequence[float | None], watched_until: Sequence[float]) -> Times:
    """Return when half of some runs had solved their task, of which some (None) had not while they were watched."""
    ends = sorted((until if at is None else at, at is None) for at, until in zip(solved_at, watched_until, strict=True))
    unsolved, at_risk, num_solved = 1.0, len(ends), len(ends) - [*solved_at].count(None)
    for when, is_censored in ends:  # of equal times those that solved come first
        if not is_censored:
            unsolved *= 1 - 1 / at_risk
            if unsolved <= 0.5 + 1e-12:
                return Times(num_solved, when, when)
        at_risk -= 1
    longest = max((until for until, censored in ends if censored), default=0.0)
    return Times(num_solved, None, longest)


def iqm_interval_over_seeds(scores: Floats) -> Interval:
    """Return the 95 % bootstrap interval of the interquartile mean of scores (S,); None below FEWEST_TO_RESAMPLE."""
    if len(scores) < FEWEST_TO_RESAMPLE:
        return None
    drawn = scores[np.random.default_rng(0).integers(len(scores), size=(RESAMPLES, len(scores)))]
    return _percentiles(iqm(drawn, axis=1))


def _resampled(base: Floats, other: Floats) -> Interval:
    """Return the 95 % interval of the probability of improvement, each group resampled by itself."""
    if min(len(base), len(other)) < FEWEST_TO_RESAMPLE:
        return None
    rng = np.random.default_rng(0)
    ours, theirs = (one[rng.integers(len(one), size=(RESAMPLES, len(one)))] for one in (base, other))
    found = [probability_of_improvement(*pair) for pair in zip(ours, theirs, strict=True)]
    return _percentiles(np.array(found))


def _percentiles(values: Any) -> tuple[float, float]:
    low, high = np.percentile(values, [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2])
    return float(low), float(high)
