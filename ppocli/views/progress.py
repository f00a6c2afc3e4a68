"""How training is shown while it goes on: a dashboard in a terminal, plain lines without one, or nothing."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import fmean
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn
from rich.progress import Progress as Bars
from rich.text import Text

from ppocli.config.models import Config
from ppocli.envs.api import VectorEnv
from ppocli.records.kept import read_baseline
from ppocli.signals import STOPPING, StopRequest
from ppocli.training.job import Job
from ppocli.training.outcome import Iteration
from ppocli.training.seeds import Failure, Message
from ppocli.views import console
from ppocli.views.results import seed_in_short

PLAIN_INTERVAL_SECONDS, BARS_INTERVAL_SECONDS = 5.0, 0.25


@contextmanager
def training_progress(
    job: Job, stop: StopRequest, envs: VectorEnv, *, quiet: bool
) -> Iterator[Callable[[Iteration], None]]:
    """Show a training in `envs`; the block hands each of its iterations to what it gets."""
    if quiet or not _can_redraw():
        yield PlainLines(job.config, quiet=quiet).update
        return
    from ppocli.views.dashboard import Dashboard, Known  # and what draws curves, which nobody else needs

    masks_actions = envs.obs_spec.num_masked > 0
    baseline = read_baseline(job.run.baseline, job.config.evaluated_in, masks_actions=masks_actions)
    history = job.run.metrics() if job.run.exists else ()
    known = Known(job.progress, history, None if baseline is None else fmean(baseline), envs.action_spec)
    with Dashboard(job.config, job.run.path.name, console.err, known, stop) as dashboard:
        yield dashboard.update


def _can_redraw() -> bool:
    return console.err.is_terminal and not console.err.is_dumb_terminal


class PlainLines:
    """Says every few seconds in a line where training stands; nothing when it is to be `quiet`."""

    def __init__(self, config: Config, *, quiet: bool = False) -> None:
        self._config, self._quiet, self._next_line = config, quiet, 0.0

    def update(self, iteration: Iteration) -> None:
        """Take note of an iteration."""
        metrics, now = iteration.metrics, time.monotonic()
        share = metrics.iteration / self._config.num_iterations
        if not self._quiet and (share == 1 or now >= self._next_line):
            self._next_line = now + PLAIN_INTERVAL_SECONDS
            begin = f"{self._config.env.id}  {share:4.0%}  {metrics.env_steps:,} steps"
            console.info(f"{begin}  {_speed_and_return(iteration)}  after {metrics.seconds:,.0f} s")


class SeedsProgress:
    """Shows how several seeds get on: a bar for each in a terminal, otherwise a plain line every few seconds.

    Bars come when their seeds begin; where there are more than lines, those of seeds that have ended make room.
    A `stop` is acknowledged below the bars.
    """

    def __init__(self, config: Config, seeds: Sequence[int], stop: StopRequest, *, quiet: bool) -> None:
        self._total, self._stop, self._quiet = config.total_env_steps, stop, quiet
        self._waiting = list(seeds)
        self._ended: list[int] = []
        columns = ("{task.description}", BarColumn(bar_width=None), "{task.percentage:>3.0f}%", "{task.fields[status]}")
        self._bars = Bars(*columns, expand=True)
        self._tasks = {
            seed: self._bars.add_task(f"seed {seed}", total=self._total, visible=False, status="") for seed in seeds
        }
        self._live: Live | None = None
        if _can_redraw() and not quiet:
            stop.acknowledgement = f"\r\x1b[2K{STOPPING}".encode()  # in the last line, where the cursor stands
            self._live = Live(self._frame(), console=console.err, auto_refresh=False)
        self._interval = BARS_INTERVAL_SECONDS if self._live else PLAIN_INTERVAL_SECONDS
        self._next = dict.fromkeys(seeds, 0.0)

    def _frame(self) -> Group:
        too_many = len(self._tasks) - len(self._waiting) - (console.err.height - 2)
        for seed in self._ended[: max(0, too_many)]:
            self._bars.update(self._tasks[seed], visible=False)
        waiting = f"{len(self._waiting)} more to begin · " if self._waiting else ""
        return Group(self._bars, Text(STOPPING if self._stop else f"{waiting}Ctrl-C stops and saves", style="dim"))

    def __enter__(self) -> Self:
        if self._live:
            with suppress(OSError):
                self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            with suppress(OSError):
                self._live.update(self._bars)  # whose last frame stays, without the hint
                self._live.stop()

    def update(self, message: tuple[int, Message]) -> None:
        """Take note of what the training of a seed has to say."""
        seed, said = message
        task, now = self._tasks[seed], time.monotonic()
        if seed in self._waiting:  # it may also have failed at once
            self._waiting.remove(seed)
            self._bars.update(task, visible=True)
        if isinstance(said, Iteration):
            status, env_steps = _speed_and_return(said), said.metrics.env_steps
            self._bars.update(task, completed=env_steps, status=status)
            if now >= self._next[seed]:
                self._next[seed] = now + self._interval
                self._show(f"seed {seed}  {env_steps / self._total:4.0%}  {status}")
        else:
            status = "failed" if isinstance(said, Failure) else seed_in_short(said)
            self._ended.append(seed)
            self._bars.update(task, status=status)
            self._show(f"seed {seed}  {status}")

    def _show(self, line: str) -> None:
        if self._live:
            with suppress(OSError):
                self._live.update(self._frame(), refresh=True)
        elif not self._quiet:
            console.info(line)


def _speed_and_return(iteration: Iteration) -> str:
    recent_return, target = iteration.verdict.recent_return, iteration.verdict.target
    mean = "-" if recent_return is None else f"{recent_return:.1f}"
    goal = "" if target is None else f" of {target:g}"
    return f"{iteration.metrics.env_steps_per_second:,.0f}/s  return {mean}{goal}"
