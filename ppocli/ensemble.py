"""Several seeds of one config: each a run of its own, trained in a process of its own, a few of them side by side."""

import importlib
import multiprocessing
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.config import Config
from ppocli.envs.workers import automatic_workers, available_cores
from ppocli.errors import PpocliError, UsageError
from ppocli.estimates import Estimate, interval, iqm, mean
from ppocli.outcome import Outcome
from ppocli.runs import Run
from ppocli.signals import (
    heed_only_sigterm,
    let_stop_signals_in,
    signal_name,
    start_resource_tracker,
    stop_request,
    stop_signals_held_back,
)

MAX_SEEDS = 1000
_LOOK_SECONDS = 0.2  # how often to ask whether to stop


@dataclass(frozen=True)
class Standing:
    """Where the training of one seed stands."""

    env_steps: int
    env_steps_per_second: float
    recent_return: float | None
    """Mean return of the last 100 training episodes."""
    target: float | None


@dataclass(frozen=True)
class Failure:
    """Why the training of one seed ended without a result."""

    message: str
    exit_code: int = 1


Result = dict[str, Any]
"""What `train` prints of a run, and under `evaluation` the statistics of its best agent, None after an interruption."""


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that `0-4` or `0,3,7` names. Raises UsageError."""
    seeds: list[int] = []
    for part in text.split(","):
        bounds = re.fullmatch(r"\s*(\d{1,10})(?:-(\d{1,10}))?\s*", part)
        first, last = (int(bounds[1]), int(bounds[2] or bounds[1])) if bounds else (1, 0)
        if not first <= last < 2**32 or len(seeds) + last - first >= MAX_SEEDS:
            raise UsageError(f"--seeds {text}: write them as 0-4 or as 0,3,7, at most {MAX_SEEDS:,} of them")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {text}: a seed stands there twice; the same seed gives the same run")
    return seeds


def share_out(config: Config, num_seeds: int, jobs: int | None = None) -> tuple[int, Config]:
    """Return how many seeds to train at a time, and the config with as many workers as that leaves cores for.

    By default as many as there are cores: a run by itself uses a second core less well than another run does.
    """
    cores, workers = available_cores(), config.env.workers
    if jobs is None:
        jobs = cores if workers == "auto" else cores // (workers + 1)
    jobs = max(1, min(jobs, num_seeds))
    if workers == "auto" and jobs > 1:
        workers = min(automatic_workers(config.env.num_envs), max(0, cores // jobs - 1))
    return jobs, config.model_copy(update={"env": config.env.model_copy(update={"workers": workers})})


def train_seeds(
    runs: Sequence[tuple[Config, Run]],
    jobs: int,
    *,
    stop_when_solved: bool = False,
    imports: Sequence[str] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[tuple[int, Standing | Result | Failure]]:
    """Train runs, `jobs` at a time; yield after each of their iterations which seed it was, and where it stands.

    The last that is yielded of a seed is its Result or its Failure. After `should_stop` no other run begins, and those
    at work write their last checkpoints. Closing the generator early kills them.
    """
    context = multiprocessing.get_context("spawn")  # a fork could copy torch's locked locks
    waiting = deque(runs)
    at_work: dict[Connection, tuple[int, SpawnProcess]] = {}
    told_to_stop = False
    start_resource_tracker()
    try:
        while at_work or (waiting and not told_to_stop):
            while waiting and len(at_work) < jobs and not told_to_stop:
                config, run = waiting.popleft()
                ours, theirs = context.Pipe(duplex=False)
                arguments = (theirs, config, run, stop_when_solved, tuple(imports), time.perf_counter())
                process = context.Process(target=_train_seed, args=arguments)
                with stop_signals_held_back():  # until it is ready for them
                    process.start()
                theirs.close()  # so that its end is the end of the pipe
                at_work[ours] = (config.train.seed, process)
            for connection in wait(list(at_work), _LOOK_SECONDS):
                assert isinstance(connection, Connection)
                seed, process = at_work[connection]
                message = _receive(connection, process)
                if not isinstance(message, Standing):
                    del at_work[connection]
                if isinstance(message, Failure) and message.exit_code == UsageError.exit_code:
                    waiting.clear()  # the others are used as wrongly
                yield seed, message
            if should_stop() and not told_to_stop:
                told_to_stop = True
                for _, process in at_work.values():
                    process.terminate()
    finally:
        for connection, (_, process) in at_work.items():
            process.kill()
            process.join()
            connection.close()


def _receive(connection: Connection, process: SpawnProcess) -> Standing | Result | Failure:
    """Return the next message of a process; at its last one, or at its death, see it off."""
    try:
        message: Standing | Result | Failure = connection.recv()
        if isinstance(message, Standing):
            return message
    except (EOFError, OSError):
        process.join()
        code = process.exitcode or 0
        ended = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        message = Failure(f"its process {ended}")
    process.join()
    connection.close()
    return message


def _train_seed(
    connection: Connection, config: Config, run: Run, stop_when_solved: bool, imports: Sequence[str], started: float
) -> None:
    """Train one seed, evaluate its best agent, and send what there is to say: the whole of a child process."""
    heed_only_sigterm()  # which the parent sends, whatever signal it gets itself
    with stop_request() as stop:
        stop.acknowledgement = b""
        let_stop_signals_in()
        try:
            for name in imports:
                importlib.import_module(name)
            messages = _trained(config, run, stop_when_solved, started, lambda: bool(stop))
            with closing(messages):  # where the parent is gone, a last checkpoint is written all the same
                for message in messages:
                    connection.send(message)
        except BrokenPipeError:
            pass
        except PpocliError as error:
            connection.send(Failure(str(error), error.exit_code))
        except OSError as error:
            connection.send(Failure(f"{error.filename or 'files'}: {error.strerror or error}"))


def _trained(
    config: Config, run: Run, stop_when_solved: bool, started: float, should_stop: Callable[[], bool]
) -> Generator[Standing | Result]:
    from ppocli.checkpoint import Progress  # torch, which only the children need
    from ppocli.results import evaluate_checkpoint, load_checkpoint
    from ppocli.train import train

    outcome = Outcome(config, run, Progress())
    reports = train(config, run, stop_when_solved=stop_when_solved, started=started, should_stop=should_stop)
    with closing(reports):
        for report in reports:
            outcome.add(report)
            row = report.metrics
            yield Standing(row.env_steps, row.env_steps_per_second, report.recent_return, report.target)
            if should_stop():
                break
    stopped = should_stop()
    result = outcome.result(time.perf_counter() - started, interrupted=stopped)
    evaluation = None if stopped else evaluate_checkpoint(load_checkpoint(run.chosen_checkpoint()), run)
    yield {**result, "evaluation": evaluation}


def over_seeds(results: Sequence[Result]) -> Result:
    """Return the statistics over the seeds that have been evaluated, with 95 % bootstrap intervals over them.

    Each seed counts once, with the mean return of its best agent over unseen episodes.
    """
    evaluated = [result for result in results if result["evaluation"] is not None]
    returns = np.array([result["evaluation"]["return_mean"] for result in evaluated])
    has_target = any(result["evaluation"]["target_return"] is not None for result in evaluated)
    solved = [result for result in evaluated if result["solved"]]
    return {
        "seeds_evaluated": len(evaluated),
        **_with_interval("return_mean", returns, mean),
        **_with_interval("return_iqm", returns, iqm),
        "solved_fraction": len(solved) / len(evaluated) if has_target and evaluated else None,
        "solved_at_env_steps_median": median(result["solved_at_env_steps"] for result in solved) if solved else None,
        "solved_at_seconds_median": median(result["solved_at_seconds"] for result in solved) if solved else None,
    }


def _with_interval(name: str, returns: NDArray[np.float64], estimate: Estimate) -> Result:
    if not len(returns):
        return {name: None, f"{name}_ci95": None}
    bounds = interval(returns, estimate)
    return {
        name: float(estimate(returns)),
        f"{name}_ci95": None if bounds is None else [float(bound) for bound in bounds],
    }
