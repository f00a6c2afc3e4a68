"""The loop around the iterations: its logs, its checkpoints, when it ends, and who watches."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

from ppocli.device import threads
from ppocli.envs.make import Environments, make_environments
from ppocli.evaluation.judge import EvaluationStopped, Judge
from ppocli.guests import IMPORTED
from ppocli.records.checkpoint import State
from ppocli.records.info import Resumed, RunInfo, Solved
from ppocli.records.writer import machine
from ppocli.training.job import Job
from ppocli.training.outcome import Iteration
from ppocli.training.setup import build, versions
from ppocli.training.state import Training


def train(
    job: Job,
    environments: Environments | None = None,
    *,
    started: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Iteration]:
    """Train an agent and yield each Iteration when its logs and checkpoints are written.

    `environments` are made here unless they are given, and closed at the end. A new run is created once every part is
    built, so that a config that cannot be trained leaves nothing behind. `started` is the `time.perf_counter()` that
    all seconds count from, by default now. Closing the generator early leaves a `last` checkpoint. So does
    `should_stop`, which is asked while greedy episodes are played, as that can take long: the iteration that they
    belong to is then taken back, and the generator ends.

    Raises UsageError for an environment that does not exist or that is not supported, NonFiniteError when a number is
    no longer finite, what an environment raises, with a note of where it did, ReplayError when one does not come to
    where it stood (unless inexactness is allowed: then all begin new episodes), PpocliError when a worker process
    dies, OSError when the run cannot be written.
    """
    began = (time.perf_counter() if started is None else started) - job.progress.seconds
    with (
        closing(job.writer) as writer,
        closing(environments or make_environments(job.played_in, job.progress.iterations)) as envs,
        threads(envs.training.obs_spec.threads),
    ):
        judge = Judge(job.config, envs.evaluation, first_solver_wins=job.stop_when_solved, should_stop=should_stop)
        training, exact = build(job, envs.training, judge, lambda: time.perf_counter() - began)
        _open(job, training, exact)
        error: Exception | None = None
        try:
            yield from _iterate(job, training)
        except Exception as raised:
            error = raised
            raise
        finally:
            writer.end(job.ended_by(training.progress), error)


def _open(job: Job, training: Training, exact: bool) -> None:
    """Make the run's directory ready to be written."""
    known: dict[str, Any] = {**job.command.model_dump(), "stop_when_solved": job.stop_when_solved}
    target, device = training.judge.target, str(training.agent.device)
    if job.resumes:
        job.writer.resume(job.config, training.progress, Resumed(**known, exact=exact), target)
    else:
        info = RunInfo(
            **known,
            name=job.name,
            target_return=target,
            begun_from=None if job.origin is None else job.origin.ancestor,
            observations=str(training.episodes.envs.obs_spec),
            masks_actions=training.episodes.envs.obs_spec.num_masked > 0,
            versions=versions(),
            machine=machine(device),
            workers=job.workers,
            imports=[*IMPORTED],
        )
        job.writer.create(job.config, info)


def _iterate(job: Job, training: Training) -> Generator[Iteration]:
    writer = job.writer

    def save(*names: str, state: Callable[[], State] = training.state) -> None:
        training.progress = replace(training.progress, **writer.sync())  # the logs first: a checkpoint counts on them
        writer.save(names, job.config, training.progress, versions(), state())

    agent_bytes = sum(array.nbytes for array in training.agent_alone()["agent"].values())
    stages = job.config.snapshot_iterations(agent_bytes)

    def keep() -> None:
        if training.progress.iterations in stages:
            writer.keep(job.config, training.progress, versions(), training.agent_alone())

    keep()
    if job.origin is not None:
        save("last")  # by which the run is resumed, wherever what it began with has gone
    while not job.is_finished(training.progress):
        before = training.snapshot()
        try:
            iteration = training.step()
        except EvaluationStopped:
            save("last", state=before)
            return
        row, verdict = iteration.metrics, iteration.verdict
        if (solved_return := verdict.solved_return) is not None:
            writer.record(solved=Solved(env_steps=row.env_steps, seconds=row.seconds, return_mean=solved_return))
        writer.log(row, iteration.episodes, iteration.rollout_ended)

        is_due = row.iteration % job.config.checkpoint_iterations == 0
        saves = is_due or job.is_finished(training.progress)
        if names := ["best"] * verdict.is_best + ["last"] * saves:
            save(*names)
        keep()
        try:
            yield replace(iteration, progress=training.progress, saved=saves)
        except GeneratorExit:
            if not saves:
                save("last")
            raise
