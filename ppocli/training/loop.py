"""The loop around the iterations: its logs, its checkpoints, when it ends, and who watches."""

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import replace

from ppocli.algorithm.device import choose_device, one_thread
from ppocli.envs.make import Environments, make_environments
from ppocli.evaluation.judge import EvaluationStopped, Judge
from ppocli.records.checkpoint import State
from ppocli.records.info import Resumed, RunInfo, Solved
from ppocli.records.writer import machine
from ppocli.training.job import Job
from ppocli.training.outcome import Iteration
from ppocli.training.setup import begin, restore, versions
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
    with ExitStack() as held:
        writer = held.enter_context(closing(job.writer))
        environments = environments or make_environments(job.config, job.progress.iterations)
        held.callback(environments.close)
        held.enter_context(one_thread())
        judge = Judge(
            job.config, environments.evaluation, first_solver_wins=job.stop_when_solved, should_stop=should_stop
        )
        training = _open(job, environments, judge, lambda: time.perf_counter() - began)
        error: Exception | None = None
        try:
            yield from _iterate(job, training)
        except Exception as raised:
            error = raised
            raise
        finally:
            writer.end(job.is_finished(training.progress), error)


def _open(job: Job, environments: Environments, judge: Judge, clock: Callable[[], float]) -> Training:
    """Return the training as it begins or continues, its run's directory ready to be written."""
    config, envs, device = job.config, environments.training, choose_device(job.config.train.device)
    exact = True
    if job.resumption is not None and job.resumption.saved is not None:
        training, exact = restore(config, envs, judge, device, job.resumption, clock)
    else:
        training = begin(config, envs, judge, device, clock)
    if job.resumption is not None:
        resumed = Resumed(**job.command.model_dump(), exact=exact)
        job.writer.resume(config, training.progress, resumed, stop_when_solved=job.stop_when_solved)
        return training
    info = RunInfo(
        **job.command.model_dump(),
        name=job.name,
        target_return=judge.target,
        stop_when_solved=job.stop_when_solved,
        versions=versions(),
        machine=machine(str(device)),
    )
    job.writer.create(config, info)
    return training


def _iterate(job: Job, training: Training) -> Generator[Iteration]:
    writer = job.writer

    def save(*names: str, state: Callable[[], State] = training.state) -> None:
        training.progress = replace(training.progress, **writer.sync())  # the logs first: a checkpoint counts on them
        writer.save(names, job.config, training.progress, versions(), state())

    while not job.is_finished(training.progress):
        before = training.snapshot()
        try:
            iteration = training.step()
        except EvaluationStopped:
            save("last", state=before)
            return
        row, verdict = iteration.metrics, iteration.verdict
        if verdict.solved_return is not None:
            solved = Solved(env_steps=row.env_steps, seconds=row.seconds, return_mean=verdict.solved_return)
            writer.record(solved=solved)
        writer.log(row, iteration.episodes, iteration.rollout_ended)

        is_due = row.iteration % job.config.checkpoint_iterations == 0
        saves = is_due or job.is_finished(training.progress)
        if names := ["best"] * verdict.is_best + ["last"] * saves:
            save(*names)
        try:
            yield replace(iteration, progress=training.progress, saved=bool(names))
        except GeneratorExit:
            if not saves:
                save("last")
            raise
