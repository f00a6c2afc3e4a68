"""Training as one watches it: a screen in a terminal, redrawn after an iteration when it is time to."""

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import uniplot
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ppocli import health
from ppocli.config import Config
from ppocli.errors import one_line
from ppocli.logs import Metrics
from ppocli.signals import STOPPING, StopRequest

if TYPE_CHECKING:
    from ppocli.train import Report

SHORTEST_INTERVAL_SECONDS = 0.25
"""From one redraw to the next: eyes ask for no more."""
SHARE_OF_TIME = 0.01
"""Of training, that drawing may take: on a slow terminal or a busy machine it draws less often."""

FULL_COLUMNS, FULL_ROWS = 78, 14
"""A terminal that is smaller shows the essential lines only, with the curve where there is room for it."""
WIDE_COLUMNS = 160
"""From here on both blocks of numbers stand side by side, and the curve has their rows."""
CURVE_COLUMNS, CURVE_ROWS = 60, 5
"""A curve that is smaller says nothing."""

PHASES = ("rollout", "update", "evaluation")
_ASCII = str.maketrans("━─▔▁│┌┐└┘·", "=---|++++-")

Cell = tuple[str, str]
"""A label and its value."""


class Dashboard:
    """Shows a training in a terminal: how far it is, its curve, and what goes on inside.

    Drawn by `update` and by no thread of its own, which would take time from training. The last frame stays.
    """

    def __init__(
        self,
        config: Config,
        run_name: str,
        console: Console,
        *,
        env_steps: int = 0,
        seconds: float = 0.0,
        history: Sequence[Metrics] = (),
        baseline_mean: float | None = None,
        discrete_actions: bool = False,
        stop: StopRequest | None = None,
    ) -> None:
        """`env_steps` and `seconds`: what the run has behind it already; `history`: its rows of `metrics.csv`.

        `baseline_mean`: the random policy's mean return, where it is known. A `stop` is acknowledged in the last line.
        """
        self._title = one_line(f"{config.env.id} · seed {config.train.seed} · {run_name}")
        self._iterations = config.num_iterations
        self._total = config.num_iterations * config.batch_size
        self._env_steps, self._seconds = env_steps, seconds
        self._baseline_mean = baseline_mean
        self._discrete_actions = discrete_actions

        self._report: Report | None = None
        self._phase_seconds = dict.fromkeys(PHASES, 0.0)
        self._training_began = 0.0
        self._curve = Curve(self._total)
        self._recent: deque[Metrics] = deque(maxlen=health.WINDOW)
        self._initial_entropy: float | None = None
        self._saved_at = env_steps
        for row in history:
            if row.env_steps <= env_steps:  # what a killed run did after its checkpoint is done again
                self._remember(row)

        self._stop = stop
        if stop is not None:
            # Where the cursor stands, and not wrapped, so that the next frame still finds its place.
            stop.acknowledgement = f"\r\x1b[2K\x1b[?7l{STOPPING}\x1b[?7h".encode()

        self._console, self._width = console, console.width
        self._next_draw = 0.0
        self._live = Live(self._frame(), console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> "Dashboard":
        with suppress(OSError):  # a terminal may be closed, and the run must go on, or end, as it was to
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._fit_terminal()
        self._live.update(self._frame(running=False))
        with suppress(OSError):
            self._live.stop()

    def update(self, report: "Report") -> None:
        """Take note of an iteration, and show where training stands if it is time to."""
        self._count_seconds(report.metrics)
        self._remember(report.metrics)
        self._report = report
        if report.saved:
            self._saved_at = report.metrics.env_steps
        began = time.perf_counter()
        if began < self._next_draw:
            return
        with suppress(OSError):
            self._fit_terminal()
            self._live.update(self._frame(), refresh=True)
        ended = time.perf_counter()
        self._next_draw = ended + max(SHORTEST_INTERVAL_SECONDS, (ended - began) / SHARE_OF_TIME)

    def _count_seconds(self, metrics: Metrics) -> None:
        spent = {phase: getattr(metrics, f"{phase}_seconds") for phase in PHASES}
        if self._report is None:
            self._training_began = metrics.seconds - sum(spent.values())
        for phase in PHASES:
            self._phase_seconds[phase] += spent[phase]

    def _remember(self, row: Metrics) -> None:
        self._curve.add(row)
        self._recent.append(row)
        if self._discrete_actions and row.iteration == 1:
            self._initial_entropy = row.entropy

    def _fit_terminal(self) -> None:
        width = self._console.width
        if width < self._width:
            self._console.clear()  # a narrowed terminal has wrapped the old frame, and nobody knows where it begins
        self._width = width

    def _frame(self, running: bool = True) -> Text:
        """Return what is to be seen now, in a terminal as large as it is now."""
        width, height = self._console.size
        rows = max(1, height - 1)
        if self._report is None:
            lines = [Text(self._title), Text("starting")]
        elif width >= FULL_COLUMNS and height >= FULL_ROWS:
            lines = self._screen(self._report, width, rows)
        else:
            lines = self._essentials(self._report, width, rows)
        lines = lines[:rows]
        if not running:
            lines.pop()  # says what may be done, and is out of date
        frame = Text("\n", end="", no_wrap=True, overflow="crop").join(lines)
        if self._ascii_only:
            frame.plain = frame.plain.translate(_ASCII)
        return frame

    @property
    def _ascii_only(self) -> bool:
        return self._console.options.ascii_only or self._console.legacy_windows

    # ------------------------------------------------------------------------------------------------------------------
    # What is on the screen, line by line

    def _screen(self, report: "Report", width: int, rows: int) -> list[Text]:
        standing, learning = self._standing(report), self._learning(report.metrics)
        if width >= WIDE_COLUMNS:
            numbers = _grid([left + right for left, right in zip(standing, learning, strict=True)], width)
        else:
            numbers = [*_grid(standing, width), Text(), *_grid(learning, width)]
        above = [Text(self._title, "bold"), self._progress(report, width)]
        below = [Text(), *numbers, self._hint(report), self._last_line(width)]
        return [*above, *self._curve_lines(report, width, rows - len(above) - len(below)), *below]

    def _essentials(self, report: "Report", width: int, rows: int) -> list[Text]:
        metrics, progress = report.metrics, report.progress
        share = metrics.env_steps / self._total
        lines = [
            Text(self._title),
            Text.assemble(f"{share:4.0%} ", *_bar(share, width - 5)),
            Text(f"return {_return(report.recent_return)}, target {_return(report.target)}"),
            Text(f"elapsed {_clock(self._elapsed)}, ETA {_clock(self._eta)}"),
            Text(f"{metrics.env_steps:,} of {self._total:,} env steps"),
            Text(f"solved {_solved(report)}, best evaluation {_return(progress.best_return)}"),
            self._hint(report),
        ]
        curve = self._curve_lines(report, width, rows - len(lines) - 1) if width >= CURVE_COLUMNS else []
        return [*lines[: rows - 1], *curve, Text(self._what_stops, "dim")]

    def _progress(self, report: "Report", width: int) -> Text:
        env_steps = report.metrics.env_steps
        share, total = env_steps / self._total, f"{self._total:,}"
        percent = f"{share:4.0%} "
        rest = (
            f"  {env_steps:>{len(total)},} of {total} env steps"
            f"  elapsed {_clock(self._elapsed):<5}  ETA {_clock(self._eta):<5}"
        )
        return Text.assemble(percent, *_bar(share, width - len(percent) - len(rest)), rest)

    def _curve_lines(self, report: "Report", width: int, rows: int) -> list[Text]:
        """Return an empty line and the curve, or nothing where there is no room for it."""
        height = min(rows - 1, width // 4)  # a character is twice as high as it is wide
        if height < CURVE_ROWS:
            return []
        references = {"target": report.target, "random": self._baseline_mean}
        known = {name: value for name, value in references.items() if value is not None}
        return [Text(), *self._curve.lines(width, height, known, self._ascii_only)]

    def _standing(self, report: "Report") -> list[list[Cell]]:
        metrics = report.metrics
        shares = {phase: f"{self._phase_seconds[phase] / self._training_seconds:.0%}" for phase in PHASES}
        return [
            [
                ("recent return", _return(report.recent_return)),
                ("episode length", _return(metrics.length_mean)),
                ("rollout time", shares["rollout"]),
            ],
            [
                ("target", _return(report.target)),
                ("env steps/s", f"{metrics.env_steps_per_second:,.0f}"),
                ("update time", shares["update"]),
            ],
            [
                ("best evaluation", _return(report.progress.best_return)),
                ("solved", _solved(report)),
                ("evaluation time", shares["evaluation"]),
            ],
        ]

    def _learning(self, metrics: Metrics) -> list[list[Cell]]:
        return [
            [
                ("policy loss", _fixed(metrics.policy_loss, 4)),
                ("approx KL", _fixed(metrics.approx_kl, 4)),
                ("entropy", _fixed(metrics.entropy, 3)),
            ],
            [
                ("value loss", f"{metrics.value_loss:.2e}"),
                ("clip fraction", _fixed(metrics.clip_fraction, 3)),
                (
                    "explained variance",
                    _fixed(metrics.explained_variance, 2 if metrics.explained_variance > -10 else 0),
                ),
            ],
            [
                ("gradient norm", _fixed(metrics.gradient_norm, 3)),
                ("learning rate", f"{metrics.learning_rate:.2e}"),
                ("iteration", f"{metrics.iteration:,} of {self._iterations:,}"),
            ],
        ]

    def _hint(self, report: "Report") -> Text:
        found = health.findings(self._recent, initial_entropy=self._initial_entropy, target=report.target)
        if found:
            return Text(f"! {found[0].advice}", "yellow")
        if report.metrics.iteration < health.FIRST_ITERATION:
            return Text(f"health is looked at from iteration {health.FIRST_ITERATION} on", "dim")
        return Text(f"healthy over the last {health.WINDOW} iterations", "dim")

    def _last_line(self, width: int) -> Text:
        if self._stop:
            return Text(self._what_stops, "dim")
        saved = f"last checkpoint at {self._saved_at:,} env steps" if self._saved_at else "no checkpoint yet"
        width -= len("^C")  # the terminal writes it behind the last line, which must not wrap
        return Text(f"{saved}{self._what_stops:>{width - len(saved)}}", "dim")

    @property
    def _what_stops(self) -> str:
        return STOPPING if self._stop else "Ctrl-C stops and saves"

    # ------------------------------------------------------------------------------------------------------------------
    # This command's seconds, not those that a run which is gone on with has behind it

    @property
    def _elapsed(self) -> float:
        return self._recent[-1].seconds - self._seconds

    @property
    def _training_seconds(self) -> float:
        """Without the start, which says nothing of what is to come."""
        return self._recent[-1].seconds - self._training_began

    @property
    def _eta(self) -> float:
        """From the mean speed so far: evaluations count, and it does not jump about."""
        env_steps = self._recent[-1].env_steps
        return self._training_seconds / (env_steps - self._env_steps) * (self._total - env_steps)


class Curve:
    """Mean episode returns over a run's env steps, gathered in bins, so that the longest run takes no more memory."""

    BINS = 1000
    MOST_POINTS = 72
    """In the widest terminal, too: a mean over more episodes makes a calmer curve."""
    LARGEST_RETURN = 1e100
    """Beyond, and there are tasks that go there, sums of returns would be infinite."""

    def __init__(self, total_env_steps: int) -> None:
        self._total = total_env_steps
        self._episodes = np.zeros(self.BINS)
        self._returns = np.zeros(self.BINS)  # summed up

    def add(self, row: Metrics) -> None:
        """Take in the episodes of an iteration."""
        if row.return_mean is None:
            return
        mean = max(-self.LARGEST_RETURN, min(row.return_mean, self.LARGEST_RETURN))
        bin_ = min(row.env_steps * self.BINS // self._total, self.BINS - 1)
        self._episodes[bin_] += row.episodes
        self._returns[bin_] += row.episodes * mean

    def points(self, columns: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the points of a curve over so many columns: where episodes ended, and the mean return of those."""
        num_points = min(columns, self.MOST_POINTS)
        point = np.arange(self.BINS) * num_points // self.BINS
        episodes = np.bincount(point, self._episodes, num_points)
        returns = np.bincount(point, self._returns, num_points)
        filled = np.flatnonzero(episodes)
        return (filled + 0.5) * columns / num_points, returns[filled] / episodes[filled]

    def lines(self, width: int, height: int, references: Mapping[str, float], ascii_only: bool) -> list[Text]:
        """Draw the curve in a frame, with a level line for each of the `references` and its name beside it."""
        margin = max(map(len, [*_names(references).values(), ", ".join(references), "-1.2e+100"]))
        columns, rows = width - margin - 3, height - 2
        xs, ys = self.points(columns)
        low, high = _round_bounds([*ys, *references.values()])
        drawn = uniplot.plot_to_string(
            xs=xs if len(xs) else [-1.0],  # which is outside
            ys=ys if len(ys) else [low],
            lines=True,
            width=columns,
            height=rows,
            x_min=0,
            x_max=columns,
            y_min=low,
            y_max=high + 1e-6 * (high - low),  # a level line at the very top would not be drawn
            x_gridlines=[],
            y_gridlines=list(references.values()),
            x_labels=False,
            y_labels=False,
            character_set="ascii" if ascii_only else "braille",
        )
        labels = _row_labels(references, low, high, rows)
        begin, end = " 0 ", f" {self._total:,} "
        axis = f"{' env steps ':─^{max(0, columns - len(begin) - len(end))}}"
        return [
            Text(f"┌{' mean return of the episodes ':─<{columns}}┐", "dim"),
            *[_curve_row(line, label) for line, label in zip(drawn.splitlines()[1:-1], labels, strict=True)],
            Text(f"└{begin}{axis}{end}┘", "dim"),
        ]


def _names(references: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{name} {value:.5g}" for name, value in references.items()}


def _row_labels(references: Mapping[str, float], low: float, high: float, rows: int) -> list[str]:
    """Return what stands beside each row of the curve: the bounds, and the references where they are."""
    labels = [f"{high:.5g}", *[""] * (rows - 2), f"{low:.5g}"]
    row_of = {
        name: rows - 1 - min(int((value - low) / (high - low) * rows), rows - 1) for name, value in references.items()
    }
    for name, row in row_of.items():
        here = [other for other in row_of if row_of[other] == row]
        labels[row] = _names(references)[name] if len(here) == 1 else ", ".join(here)
    return labels


def _curve_row(line: str, label: str) -> Text:
    text = Text(line, "dim")
    text.highlight_regex(r"[⠁-⣿+]+", "cyan not dim")
    return text.append(f" {label}", "not dim")


def _round_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return round numbers below and above the values."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-30):  # a level curve, but for rounding
        low, high = low - max(1.0, abs(low) / 10), high + max(1.0, abs(high) / 10)
    step = 10.0 ** math.floor(math.log10(high - low)) / 5
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _grid(rows: Sequence[Sequence[Cell]], width: int) -> list[Text]:
    """Lay cells out in columns that stay where they are: labels to the left, values to the right."""
    gap = "   "
    columns = len(rows[0])
    cell_width = min((width + len(gap)) // columns - len(gap), 30)
    return [
        Text(gap).join(Text.assemble((label, "dim"), f"{value:>{cell_width - len(label)}}") for label, value in row)
        for row in rows
    ]


def _bar(share: float, width: int) -> tuple[tuple[str, str], tuple[str, str]]:
    done = int(share * width)
    return ("━" * done, "cyan"), ("─" * (width - done), "dim")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _return(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:z,.1f}" if abs(value) < 1e7 else f"{value:.3e}"


def _fixed(value: float, digits: int) -> str:
    return f"{value:z.{digits}f}" if abs(value) < 1000 else f"{value:.1e}"


def _solved(report: "Report") -> str:
    solved_at = report.progress.solved_at_env_steps
    if report.target is None:
        return "no target"
    return "not yet" if solved_at is None else f"at {solved_at:,}"
