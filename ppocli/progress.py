"""How training is shown while it goes on: a dashboard in a terminal, plain lines without one, or nothing."""

import time
from collections.abc import Sequence
from contextlib import suppress
from statistics import fmean
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from ppocli import console
from ppocli.config import Config
from ppocli.runs import Run
from ppocli.signals import STOPPING, StopRequest

if TYPE_CHECKING:
    from ppocli.checkpoint import Progress
    from ppocli.dashboard import Dashboard
    from ppocli.ensemble import Standing
    from ppocli.train import Report

PLAIN_INTERVAL_SECONDS = 5.0
BARS_INTERVAL_SECONDS = 0.25


def training_progress(
    config: Config, run: Run, progress: "Progress", stop: StopRequest, *, discrete_actions: bool, quiet: bool
) -> "Dashboard | PlainLines":
    """Return what shows the training of a run that has `progress` behind it."""
    if quiet or not _can_redraw():
        return PlainLines(config, quiet=quiet)
    from ppocli.dashboard import Dashboard
    from ppocli.results import stored_baseline  # torch, which the parent of several seeds does without

    baseline = stored_baseline(config, run.baseline)
    return Dashboard(
        config,
        run.path.name,
        console.err,
        env_steps=progress.env_steps,
        seconds=progress.seconds,
        history=run.metrics() if run.exists else (),
        baseline_mean=None if baseline is None else fmean(baseline),
        discrete_actions=discrete_actions,
        stop=stop,
    )


def _can_redraw() -> bool:
    return console.err.is_terminal and not console.err.is_dumb_terminal


class PlainLines:
    """Says every few seconds in a line where training stands; nothing when it is to be `quiet`."""

    def __init__(self, config: Config, *, quiet: bool = False) -> None:
        self._config = config
        self._quiet = quiet
        self._next_line = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, report: "Report") -> None:
        """Take note of an iteration."""
        metrics, now = report.metrics, time.monotonic()
        ended = metrics.iteration == self._config.num_iterations
        if not self._quiet and (ended or now >= self._next_line):
            self._next_line = now + PLAIN_INTERVAL_SECONDS
            share = metrics.iteration / self._config.num_iterations
            standing = _return_against_target(report.recent_return, report.target)
            console.info(
                f"{self._config.env.id}  {share:4.0%}  {metrics.env_steps:,} steps  "
                f"{metrics.env_steps_per_second:,.0f}/s  {standing}  after {metrics.seconds:,.0f} s"
            )


class SeedsProgress:
    """Shows how several seeds get on: a bar for each in a terminal, otherwise a plain line every few seconds.

    Bars come when their seeds begin; where there are more than lines, those of seeds that have ended make room.
    A `stop` is acknowledged below the bars.
    """

    def __init__(self, config: Config, seeds: Sequence[int], stop: StopRequest, *, quiet: bool) -> None:
        self._total = config.num_iterations * config.batch_size
        self._quiet = quiet
        self._stop = stop
        self._waiting = list(seeds)
        self._ended: list[int] = []
        self._live: Live | None = None
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[status]}"),
            expand=True,
        )
        self._tasks = {
            seed: self._bars.add_task(f"seed {seed}", total=self._total, visible=False, status="") for seed in seeds
        }
        if _can_redraw() and not quiet:
            stop.acknowledgement = f"\r\x1b[2K{STOPPING}".encode()  # in the last line, where the cursor stands
            self._live = Live(self._frame(), console=console.err, auto_refresh=False)
        self._interval = BARS_INTERVAL_SECONDS if self._live else PLAIN_INTERVAL_SECONDS
        self._next = dict.fromkeys(seeds, 0.0)

    def _frame(self) -> Group:
        too_many = len(self._tasks) - len(self._waiting) - (console.err.height - 2)
        for seed in self._ended[: max(0, too_many)]:
            self._bars.update(self._tasks[seed], visible=False)
        hint = STOPPING if self._stop else "Ctrl-C stops and saves"
        waiting = f"{len(self._waiting)} more to begin · " if self._waiting and not self._stop else ""
        return Group(self._bars, Text(f"{waiting}{hint}", style="dim"))

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

    def update(self, seed: int, standing: "Standing") -> None:
        """Take note of an iteration of a seed."""
        status = (
            f"{standing.env_steps_per_second:,.0f}/s  {_return_against_target(standing.recent_return, standing.target)}"
        )
        self._begin(seed)
        self._bars.update(self._tasks[seed], completed=standing.env_steps, status=status)
        if (now := time.monotonic()) >= self._next[seed]:
            self._next[seed] = now + self._interval
            self._show(seed, f"{standing.env_steps / self._total:4.0%}  {status}")

    def end(self, seed: int, status: str) -> None:
        """Say how a seed has ended."""
        self._begin(seed)  # it may have failed at once
        self._ended.append(seed)
        self._bars.update(self._tasks[seed], status=status)
        self._show(seed, status)

    def _begin(self, seed: int) -> None:
        if seed in self._waiting:
            self._waiting.remove(seed)
            self._bars.update(self._tasks[seed], visible=True)

    def _show(self, seed: int, line: str) -> None:
        if self._live:
            with suppress(OSError):
                self._live.update(self._frame(), refresh=True)
        elif not self._quiet:
            console.info(f"seed {seed}  {line}")


def _return_against_target(recent_return: float | None, target: float | None) -> str:
    mean = "-" if recent_return is None else f"{recent_return:.1f}"
    return f"return {mean}" if target is None else f"return {mean} of {target:g}"
