"""What updates did to a policy: how far it moved by each, and how often it was the worse for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ppocli.evaluation.estimates import t_interval
from ppocli.records.logs import LoggedEpisode, Metrics
from ppocli.records.run import Run

WINDOW = 10  # updates that a running mean of KL is over
SIGNIFICANCE = 0.05  # so often a policy that has not changed at all is said to be worse
Floats = NDArray[np.float64]


def kl_of_updates(metrics: Sequence[Metrics]) -> tuple[Floats, Floats]:
    """Return after how many env steps updates moved the policy, and by how much KL; those that did not are left out."""
    moved = [(row.env_steps, row.kl) for row in metrics if row.kl is not None and row.kl > 0]
    env_steps, kl = np.array(moved, dtype=np.float64).reshape(-1, 2).T
    return env_steps, kl


def running_geometric_mean(values: Floats) -> Floats:
    """Return for each of `values` (U,) the geometric mean of it and up to WINDOW − 1 before it."""
    sums = np.concatenate([[0.0], np.log(values).cumsum()])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - WINDOW, 0)
    return np.asarray(np.exp((sums[last] - sums[first]) / (last - first)))


def made_worse(metrics: Sequence[Metrics], episodes: Sequence[LoggedEpisode]) -> NDArray[np.bool_]:
    """Return for each update that can be judged (at most U − 1) whether the policy was the worse for it.

    It was where the training episodes that ended in the next iteration returned less than those of its own, by Welch's
    one-sided t test at SIGNIFICANCE. Two of each are needed; those that were begun before count as what they ended as.
    """
    ends = np.array([row.env_steps for row in metrics])
    iterations = np.searchsorted(ends, [episode.env_steps for episode in episodes])
    returns = np.array([episode.episode_return for episode in episodes])
    count = np.bincount(iterations, minlength=len(ends))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(iterations, returns, len(ends)) / count
        variance = np.bincount(iterations, (returns - mean[iterations]) ** 2, len(ends)) / (count - 1)
        judged = (count[:-1] > 1) & (count[1:] > 1)
        sides: list[Any] = [
            part
            for rows in (slice(1, None), slice(None, -1))
            for part in (mean[rows], np.sqrt(variance[rows]), count[rows])
        ]
        p_value = stats.ttest_ind_from_stats(*sides, equal_var=False, alternative="less").pvalue
    # Where no return varies there is no such test, and none is needed.
    certain = (variance[1:] == 0) & (variance[:-1] == 0)
    worse = np.where(certain, mean[1:] < mean[:-1], p_value < SIGNIFICANCE)
    return np.asarray(worse[judged])


def share_made_worse(runs: Sequence[Run]) -> tuple[float, tuple[float, float] | None]:
    """Return the mean share of updates that made the policy worse, and its 95 % t interval over runs; NaN for none."""
    judged = [made_worse(run.metrics(), run.episodes()) for run in runs]
    shares = np.array([worse.mean() for worse in judged if worse.size])
    if not shares.size:
        return float("nan"), None
    low_high = t_interval(shares)
    return float(shares.mean()), None if low_high is None else (float(low_high[0]), float(low_high[1]))
