"""Estimates that a handful of runs or episodes allow, and how sure they are.

Source: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, arXiv:2108.13264.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_LARGEST_DRAW = 1_000_000  # numbers drawn at once, which bounds the memory

Estimate = Callable[..., Any]  # from samples, along an `axis`, to an estimate: `mean` or `iqm`


def mean(samples: NDArray[np.float64], axis: int = 0) -> Any:
    """Return the mean along an axis."""
    return samples.mean(axis=axis)


def iqm(samples: NDArray[np.float64], axis: int = 0) -> Any:
    """Return the interquartile mean along an axis: the mean of the middle half, arXiv:2108.13264."""
    from scipy import stats  # takes longer to import than 100 episodes to play, and training needs none of it

    return stats.trim_mean(samples, 0.25, axis=axis)


def interval(samples: NDArray[np.float64], estimate: Estimate) -> tuple[Any, Any] | None:
    """Return the ends of the 95 % percentile bootstrap interval of an estimate over `samples` (S,) or (S, G).

    The resamples come from a fixed seed. None for a single sample, of which no interval can be had.
    """
    if len(samples) < 2:
        return None
    from scipy import stats

    found = stats.bootstrap(
        (samples,),
        estimate,
        axis=0,
        n_resamples=RESAMPLES,
        batch=max(1, _LARGEST_DRAW // samples.size),  # the result is the same
        method="percentile",
        rng=0,
    ).confidence_interval
    return found.low, found.high
