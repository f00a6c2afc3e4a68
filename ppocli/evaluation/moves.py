"""What updates did to a policy: how far it moved by each, and how often it was the worse for it."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ppocli.evaluation.estimates import t_interval
from ppocli.records.logs import LoggedEpisode, Metrics
from ppocli.records.run import Run

WINDOW = 10  # updates that a running mean of KL is over
FEWEST_EPISODES = 5  # of an iteration to be compared with another: of fewer the test says little, and too often
SIGNIFICANCE = 0.05  # about so often a policy that has not changed at all is said to be worse
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
    one-sided t test at SIGNIFICANCE. FEWEST_EPISODES of each are needed; one that began before counts where it ends.
    """
    from scipy import stats  # takes longer to import than to draw a figure

    ends = np.array([row.env_steps for row in metrics])
    iterations = np.searchsorted(ends, [episode.env_steps for episode in episodes])
    returns = np.array([episode.episode_return for episode in episodes])
    groups = [returns[iterations == number] for number in range(len(ends))]
    worse = []
    for before, after in pairwise(groups):
        if min(before.size, after.size) < FEWEST_EPISODES:
            continue
        if np.ptp(before) == np.ptp(after) == 0:  # where no return varies there is no such test, and none is needed
            worse.append(after[0] < before[0])
        else:
            test = stats.ttest_ind(after, before, equal_var=False, alternative="less")
            worse.append(test.pvalue < SIGNIFICANCE)
    return np.array(worse, dtype=bool)


def share_made_worse(runs: Sequence[Run]) -> tuple[float, tuple[float, float] | None, int]:
    """Return the mean share of updates that made the policy worse, its 95 % t interval over runs, and of how many.

    The share is NaN where none can be judged.
    """
    judged = [made_worse(run.metrics(), run.episodes()) for run in runs]
    shares = np.array([worse.mean() for worse in judged if worse.size])
    count = sum(worse.size for worse in judged)
    if not shares.size:
        return math.nan, None, count
    low_high = t_interval(shares)
    return float(shares.mean()), None if low_high is None else (float(low_high[0]), float(low_high[1])), count
