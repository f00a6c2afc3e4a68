"""Several seeds of one config: each a run of its own, trained in a process of its own, a few of them side by side.

The parent knows no torch: only the children need it.
"""

import re
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np

from ppocli import children
from ppocli.config.models import Config
from ppocli.cores import usable_cores
from ppocli.errors import PpocliError, PpocliWarning, UsageError, warn
from ppocli.evaluation.estimates import IQM_TRIM, censored_median, iqm, t_interval
from ppocli.evaluation.statistics import AgentResult
from ppocli.guests import import_modules
from ppocli.signals import leave_stop_signals_to_parent, let_stop_signals_in, stop_request
from ppocli.training.job import Job
from ppocli.training.outcome import Iteration, Outcome, TrainingResult, follow

MAX_SEEDS = 1000
_LOOK_SECONDS = 0.2  # how often to ask whether to stop


@dataclass(frozen=True)
class Failure:
    """Why the training of one seed ended without a result."""

    message: str
    exit_code: int = 1
    frames: str = ""  # of the user's own code


@dataclass(frozen=True)
class SeedResult(TrainingResult):
    """What the training of one seed ended with."""

    evaluation: AgentResult | None  # of its best agent, None after an interruption


@dataclass(frozen=True)
class SeedsResult:
    """What the trainings of several seeds ended with, each and together.

    An evaluated seed counts by its best agent's mean return over unseen episodes; intervals are 95 % t intervals.
    """

    env_id: str
    seeds: list[int]  # that were asked for
    at_a_time: int
    wall_seconds: float
    interrupted: bool
    seeds_evaluated: int
    return_mean: float | None
    return_mean_ci95: tuple[float, float] | None
    return_iqm: float | None
    return_iqm_ci95: tuple[float, float] | None
    seeds_solved_fraction: float | None  # of those evaluated or failed; None where the task has no target
    solved_at_env_steps_median: float | None  # over all `seeds`; None where half or fewer have solved the task
    solved_at_seconds_median: float | None
    figure: Path | None  # None where nothing was drawn
    runs: list[SeedResult]
    failures: dict[int, str]  # why a seed has no result


Message = Iteration | SeedResult | Failure
"""What the process of a seed has to say, beside warnings; the last of it is a SeedResult or a Failure."""


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


def share_out(config: Config, num_seeds: int, jobs: int | None = None) -> tuple[int, int | None]:
    """Return how many seeds to train at a time, and how many workers each then has, None for those of its config.

    By default as many as there are cores: a run by itself uses a second core less well than another run does. EnvPool's
    threads count as workers do. Of an environment of which there is only one, seeds take turns.
    """
    from ppocli.envs.make import automatic_workers  # and Gymnasium, which takes a while

    if config.env.single_instance:
        return 1, None
    cores, workers = usable_cores(), config.env.workers
    if jobs is None:
        jobs = cores if workers == "auto" else cores // (workers + 1)
    jobs = max(1, min(jobs, num_seeds))
    if workers != "auto" or jobs == 1:
        return jobs, None
    return jobs, min(automatic_workers(config.env.num_envs), max(0, cores // jobs - 1))


def train_seeds(
    jobs: Sequence[Job], at_a_time: int, *, imports: Sequence[str] = (), should_stop: Callable[[], bool] = lambda: False
) -> Generator[tuple[int, Message]]:
    """Do jobs, so many at a time; yield what each has to say, with its seed.

    After `should_stop` no other begins, and those at work write their last checkpoints. Closing early kills them.
    """
    waiting = deque(jobs)
    at_work: dict[Connection, tuple[int, SpawnProcess]] = {}
    told_to_stop = False
    try:
        while waiting or at_work:
            while waiting and len(at_work) < at_a_time:
                job = waiting.popleft()
                process, ours = children.start(_train_seed, job, tuple(imports), time.perf_counter())
                at_work[ours] = (job.config.train.seed, process)
            for connection in wait(list(at_work), _LOOK_SECONDS):
                assert isinstance(connection, Connection)
                seed, process = at_work[connection]
                message = _receive(connection, process)
                if isinstance(message, PpocliWarning):
                    warn(str(message))
                    continue
                if not isinstance(message, Iteration):
                    del at_work[connection]
                if isinstance(message, Failure) and message.exit_code == UsageError.exit_code:
                    waiting.clear()  # the others are used as wrongly
                yield seed, message
            if should_stop() and not told_to_stop:
                told_to_stop = True
                waiting.clear()
                for _, process in at_work.values():
                    process.terminate()
    finally:
        for connection, (_, process) in at_work.items():
            process.kill()
            process.join()
            connection.close()


def _receive(connection: Connection, process: SpawnProcess) -> Message | PpocliWarning:
    """Return the next message of a process; at its last one, or at its death, see it off."""
    try:
        message: Message | PpocliWarning = connection.recv()
    except (EOFError, OSError):
        message = Failure(f"its process died: {children.death(process)}")
    if not isinstance(message, Iteration | PpocliWarning):
        process.join()
        connection.close()
    return message


def _train_seed(connection: Connection, job: Job, imports: Sequence[str], started: float) -> None:
    """Train one seed, evaluate its best agent, and send what there is to say: the whole of a child process."""
    leave_stop_signals_to_parent()  # but for the time in which there is something to stop
    with stop_request(patient=True) as stop:  # the parent may not be the only one who asks
        stop.acknowledgement = b""
        let_stop_signals_in()
        warnings.simplefilter("always", PpocliWarning)
        warnings.showwarning = _sending(connection)
        try:
            import_modules(imports)
            connection.send(_trained(job, started, lambda: bool(stop), connection.send))
        except ConnectionError:
            pass  # where the parent is gone, a last checkpoint is written all the same
        except PpocliError as error:
            connection.send(Failure(str(error), error.exit_code, error.frames))
        except OSError as error:
            connection.send(Failure(f"{error.filename or 'its process'}: {error.strerror or error}"))


def _sending(connection: Connection) -> Any:
    """Return what shows warnings: ours to the parent, which shows each once."""
    show = warnings.showwarning

    def send(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if not issubclass(category, PpocliWarning):
            show(message, category, *place)
            return
        with suppress(ConnectionError):
            connection.send(PpocliWarning(str(message)))

    return send


def _trained(job: Job, started: float, should_stop: Callable[[], bool], send: Callable[[Iteration], Any]) -> SeedResult:
    from ppocli.device import keep_freed_memory
    from ppocli.evaluation.results import evaluate_checkpoint
    from ppocli.records import checkpoint
    from ppocli.training.loop import train

    keep_freed_memory()
    outcome = Outcome(job)
    tell = [outcome.add, lambda iteration: send(replace(iteration, episodes=()))]
    follow(train(job, started=started, should_stop=should_stop), tell, should_stop)
    stopped = should_stop()
    result = outcome.result(time.perf_counter() - started, interrupted=stopped)
    evaluation = None if stopped else evaluate_checkpoint(checkpoint.load(job.run.chosen_checkpoint()), job.run)
    return SeedResult(**vars(result), evaluation=evaluation)


def over_seeds(
    env_id: str, seeds: Sequence[int], ended: Mapping[int, Message], *, at_a_time: int, seconds: float, stopped: bool
) -> SeedsResult:
    """Return what trainings of some seeds, which took so many seconds, have `ended` with, together."""
    runs = [end for _, end in sorted(ended.items()) if isinstance(end, SeedResult)]
    failures = {seed: end.message for seed, end in sorted(ended.items()) if isinstance(end, Failure)}
    evaluations = [run.evaluation for run in runs if run.evaluation is not None]
    returns = np.array([evaluation.return_mean for evaluation in evaluations])
    has_target = any(evaluation.target_return is not None for evaluation in evaluations)
    num_solved = sum(run.solved for run in runs if run.evaluation is not None)
    missing = [None] * (len(seeds) - len(runs))
    return SeedsResult(
        env_id=env_id,
        seeds=list(seeds),
        at_a_time=at_a_time,
        wall_seconds=seconds,
        interrupted=stopped,
        seeds_evaluated=len(evaluations),
        return_mean=float(returns.mean()) if evaluations else None,
        return_mean_ci95=t_interval(returns),
        return_iqm=float(iqm(returns)) if evaluations else None,
        return_iqm_ci95=t_interval(returns, IQM_TRIM),
        seeds_solved_fraction=num_solved / (len(evaluations) + len(failures)) if has_target else None,
        solved_at_env_steps_median=censored_median([*(run.solved_at_env_steps for run in runs), *missing]),
        solved_at_seconds_median=censored_median([*(run.solved_at_seconds for run in runs), *missing]),
        figure=None,
        runs=runs,
        failures=failures,
    )
