"""Iterations as a training hands them to those who watch, with numbers that are known beforehand."""

from ppocli.evaluation.statistics import Verdict
from ppocli.records.checkpoint import Progress
from ppocli.records.logs import Metrics
from ppocli.training.outcome import Iteration
from tests.records.runs import columns_of

BATCH = 2048
HEALTHY = {"approx_kl": 0.01, "clip_fraction": 0.1, "explained_variance": 0.9, "entropy": 0.5, "saturated_actions": 0.3}


def metrics(number, **changes):
    """A row of `metrics.csv`: 2 s for the start, then 4 s an iteration."""
    seconds = {"seconds": 2.0 + 4 * number, "rollout_seconds": 2.0, "update_seconds": 1.2, "evaluation_seconds": 0.8}
    values = {"iteration": number, "env_steps": BATCH * number, "episodes": 10, "return_mean": 20.0 * number}
    return Metrics(**dict.fromkeys(columns_of(Metrics), 1.0) | HEALTHY | seconds | values | changes)


def iteration(number, *, recent_return=123.45, target=475.0, saved=False, progress=None, **changes):
    verdict = Verdict(None, None, is_best=False, recent_return=recent_return, target=target)
    row = metrics(number, **changes)
    return Iteration(row, progress or Progress(), episodes=(), rollout_ended=row.seconds, verdict=verdict, saved=saved)
