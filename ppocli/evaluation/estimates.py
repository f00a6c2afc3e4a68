"""Estimates that a handful of runs or episodes allow, and how sure they are.

Source: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, arXiv:2108.13264.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

IQM_TRIM = 0.25  # share of the samples that the interquartile mean leaves out at each end
RESAMPLES = 10_000
FEWEST_TO_RESAMPLE = 30  # a bootstrap covers far less than 95 % of few samples, from here on 94: benchmarks/coverage.py
LONG_SHOT = 1.0  # standard errors that samples may lack to be worth going on with
_LARGEST_DRAW = 1_000_000  # numbers drawn at once, which bounds the memory


def iqm(samples: NDArray[np.float64], axis: int = 0) -> Any:
    """Return the interquartile mean along an axis: the mean of the middle half, arXiv:2108.13264."""
    from scipy import stats  # takes longer to import than 100 episodes to play, and training needs none of it

    return stats.trim_mean(samples, IQM_TRIM, axis=axis)


def t_interval(samples: NDArray[np.float64], trim: float = 0.0) -> tuple[Any, Any] | None:
    """Return the ends of the 95 % t interval of the mean of few `samples` (S,) or (S, G), None for a single one.

    Student's, exact where samples are normal. Of the mean without a share `trim` at each end, such as the interquartile
    mean, it is Yuen's, Biometrika 61, 1974: the deviation is that of the winsorised samples.
    """
    count, cut = len(samples), int(trim * len(samples))
    if count < 2:
        return None
    from scipy.special import stdtrit

    ordered, kept = np.sort(samples, axis=0), count - 2 * cut
    center = ordered[cut : count - cut].mean(axis=0)
    deviation = np.clip(ordered, ordered[cut], ordered[count - 1 - cut]).std(axis=0)
    margin = stdtrit(kept - 1, 0.975) * deviation * np.sqrt(count / (kept * (kept - 1)))
    return center - margin, center + margin


def iqm_interval(samples: NDArray[np.float64]) -> tuple[Any, Any] | None:
    """Return the ends of the 95 % interval of the interquartile mean of many samples (E,), such as episodes.

    A percentile bootstrap whose resamples come from a fixed seed, or of fewer than FEWEST_TO_RESAMPLE the t interval.
    """
    if len(samples) < FEWEST_TO_RESAMPLE:
        return t_interval(samples, IQM_TRIM)
    from scipy.stats import bootstrap

    batch = max(1, _LARGEST_DRAW // samples.size)  # the result is the same
    found = bootstrap((samples,), iqm, n_resamples=RESAMPLES, batch=batch, method="percentile", rng=0)
    return found.confidence_interval.low, found.confidence_interval.high


def may_average(target: float, samples: Sequence[float], count: int) -> bool:
    """Whether `count` samples, of which some are known, may still average the target.

    They hardly do where the others would have to average more than LONG_SHOT standard errors above these.
    """
    left = count - len(samples)
    needed = (count * target - math.fsum(samples)) / left
    error = np.std(samples, ddof=1) * math.sqrt(1 / len(samples) + 1 / left)
    within_reach = float(np.mean(samples) + LONG_SHOT * error)
    return needed <= within_reach or math.isclose(needed, within_reach)  # all samples may be just the target


def censored_median(times: Sequence[float | None]) -> float | None:
    """Return the median of times, of which None is longer than any other; None where that is the median."""
    middle = median(math.inf if time is None else time for time in times)
    return None if middle == math.inf else middle
