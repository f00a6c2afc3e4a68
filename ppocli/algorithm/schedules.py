"""Values that change over training."""

import math

from ppocli.config.values import Schedule


def value_at(schedule: float | Schedule, progress: float) -> float:
    """Return the value at `progress`, the share of it in [0, 1] that is over; a plain number never changes.

    `linear` moves evenly; `cosine` starts and ends gently, half a cosine wave (arXiv:1608.03983, eq. 5, one period).
    """
    if not isinstance(schedule, Schedule):
        return schedule
    remaining = 1.0 - progress if schedule.shape == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return schedule.end + (schedule.start - schedule.end) * remaining
