"""What comes of a training, iteration by iteration and at its end. Knows no torch."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ppocli.envs.api import ActionSpec, Continuous
from ppocli.envs.episodes import Episode
from ppocli.evaluation.statistics import Verdict
from ppocli.notebook import Tabled
from ppocli.records.checkpoint import Progress
from ppocli.records.info import End
from ppocli.records.logs import Metrics
from ppocli.training.job import Job

T = TypeVar("T")


@dataclass(frozen=True)
class Iteration:
    """What one iteration did, and where training stands after it."""

    metrics: Metrics
    progress: Progress
    episodes: Sequence[Episode]  # the training episodes that ended in it
    rollout_ended: float  # seconds of training after which its rollout was over
    verdict: Verdict  # what was found out about the agent after it
    saved: bool = False  # whether the checkpoint that a resumed run continues from was written after it


def episode_metrics(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Return the columns of `Metrics` that sum up the episodes of an iteration."""
    returns = [episode.episode_return for episode in episodes]
    lengths = [episode.episode_length for episode in episodes]
    known = dict.fromkeys(key for episode in episodes for key in episode.info)
    means = {key: fmean(episode.info[key] for episode in episodes if key in episode.info) for key in known}
    return {
        "episodes": len(episodes),
        "return_mean": fmean(returns) if returns else None,
        "return_min": min(returns, default=None),
        "return_max": max(returns, default=None),
        "length_mean": fmean(lengths) if lengths else None,
        "success_rate": means.pop("is_success", None),
        "info": means,
    }


def saturated_actions(actions: NDArray[Any], spec: ActionSpec) -> float | None:
    """Return the share of real-valued actions (T, N, size) beyond ± 1, where they are clipped; None where none can."""
    if not isinstance(spec, Continuous) or not any(spec.bounded):
        return None
    return float((np.abs(actions[..., list(spec.bounded)]) > 1).mean())


def follow(
    iterations: Generator[T],
    listeners: Sequence[Callable[[T], object]],
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Hand iterations to the listeners until they end, are to stop or one raises; closing leaves a checkpoint."""
    with closing(iterations):
        for iteration in iterations:
            for listen in listeners:
                listen(iteration)
            if should_stop():
                break


@dataclass(frozen=True)
class TrainingResult(Tabled):
    """What a training command ends with."""

    run_dir: Path
    env_id: str
    seed: int
    env_steps: int
    resumed_at_env_steps: int | None  # None for a new run
    iterations: int
    wall_seconds: float  # of the command
    seconds: dict[str, float]  # the same by phase; they add up to it
    env_steps_per_second: float  # all env steps over all seconds of training
    solved: bool
    solved_at_env_steps: int | None
    solved_at_seconds: float | None
    target_return: float | None  # the mean return that counts as solved, None where the task has none
    best_return: float | None  # greedy policy's best mean return while training, None before the first evaluation
    checkpoint: Path
    interrupted: bool
    ended_by: End


class Outcome:
    """Follows a training and sums it up."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._progress = job.progress
        self._seconds: dict[str, float] = {}

    def add(self, iteration: Iteration) -> None:
        """Count an iteration."""
        self._progress, row = iteration.progress, iteration.metrics
        spent = {"rollout": row.rollout_seconds, "update": row.update_seconds, "evaluation": row.evaluation_seconds}
        if not self._seconds:
            start_up = row.seconds - self._job.progress.seconds - sum(spent.values())
            self._seconds = {"start_up": start_up, **dict.fromkeys(spent, 0.0)}
        for phase, seconds in spent.items():
            self._seconds[phase] += seconds

    def result(self, wall_seconds: float, *, interrupted: bool) -> TrainingResult:
        """Return what the command ends with. Raises RunError where there is no checkpoint."""
        progress, run, config = self._progress, self._job.run, self._job.config
        return TrainingResult(
            run_dir=run.path.absolute(),
            env_id=config.env.id,
            seed=config.train.seed,
            env_steps=progress.env_steps,
            resumed_at_env_steps=self._job.progress.env_steps or None,
            iterations=progress.iterations,
            wall_seconds=wall_seconds,
            seconds={**self._seconds, "other": wall_seconds - sum(self._seconds.values())},
            env_steps_per_second=progress.env_steps / (progress.seconds or wall_seconds),
            solved=progress.solved_at_env_steps is not None,
            solved_at_env_steps=progress.solved_at_env_steps,
            solved_at_seconds=progress.solved_at_seconds,
            target_return=run.info.target_return,
            best_return=progress.best_return,
            checkpoint=run.chosen_checkpoint().absolute(),
            interrupted=interrupted,
            ended_by=self._job.ended_by(progress),
        )
