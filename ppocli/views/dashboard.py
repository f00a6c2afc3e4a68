"""Training as one watches it: a screen in a terminal, redrawn after an iteration when it is time to."""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ppocli.config.models import Config
from ppocli.errors import one_line
from ppocli.evaluation import health
from ppocli.records.checkpoint import Progress
from ppocli.records.logs import Metrics
from ppocli.signals import STOPPING, StopRequest
from ppocli.training.outcome import Iteration
from ppocli.views.curve import Curve
from ppocli.views.text import clock

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


@dataclass(frozen=True)
class Known:
    """What is known of a run when the command begins."""

    progress: Progress = Progress()  # noqa: RUF009 - frozen
    """What it has behind it already."""
    history: Sequence[Metrics] = ()
    """Its rows of `metrics.csv`."""
    baseline_mean: float | None = None
    """The random policy's mean return."""
    discrete_actions: bool = False


class Dashboard:
    """Shows a training in a terminal: how far it is, its curve, and what goes on inside.

    Drawn by `update` and by no thread of its own, which would take time from training. The last frame stays.
    """

    def __init__(
        self,
        config: Config,
        run_name: str,
        console: Console,
        known: Known = Known(),
        stop: StopRequest | None = None,
    ) -> None:
        """A `stop` is acknowledged in the last line."""
        self._title = one_line(f"{config.env.id} · seed {config.train.seed} · {run_name}")
        self._iterations = config.num_iterations
        self._total = config.total_env_steps
        self._env_steps, self._seconds = known.progress.env_steps, known.progress.seconds
        self._baseline_mean = known.baseline_mean
        self._discrete_actions = known.discrete_actions

        self._iteration: Iteration | None = None
        self._phase_seconds = dict.fromkeys(PHASES, 0.0)
        self._training_began = 0.0
        self._curve = Curve(self._total)
        self._recent: deque[Metrics] = deque(maxlen=health.WINDOW)
        self._initial_entropy: float | None = None
        self._saved_at = self._env_steps
        for row in known.history:
            if row.env_steps <= self._env_steps:  # what a killed run did after its checkpoint is done again
                self._remember(row)

        self._stop = stop
        if stop is not None:
            # Where the cursor stands, and not wrapped, so that the next frame still finds its place.
            stop.acknowledgement = f"\r\x1b[2K\x1b[?7l{STOPPING}\x1b[?7h".encode()

        self._console, self._width = console, console.width
        self._next_draw = 0.0
        self._live = Live(self._frame(), console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        with suppress(OSError):  # a terminal may be closed, and the run must go on, or end, as it was to
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._fit_terminal()
        self._live.update(self._frame(running=False))
        with suppress(OSError):
            self._live.stop()

    def update(self, iteration: Iteration) -> None:
        """Take note of an iteration, and show where training stands if it is time to."""
        self._count_seconds(iteration.metrics)
        self._remember(iteration.metrics)
        self._iteration = iteration
        if iteration.saved:
            self._saved_at = iteration.metrics.env_steps
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
        if self._iteration is None:
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
        if self._iteration is None:
            lines = [Text(self._title), Text("starting")]
        elif width >= FULL_COLUMNS and height >= FULL_ROWS:
            lines = self._screen(self._iteration, width, rows)
        else:
            lines = self._essentials(self._iteration, width, rows)
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

    def _screen(self, iteration: Iteration, width: int, rows: int) -> list[Text]:
        standing, learning = self._standing(iteration), self._learning(iteration.metrics)
        if width >= WIDE_COLUMNS:
            numbers = _grid([left + right for left, right in zip(standing, learning, strict=True)], width)
        else:
            numbers = [*_grid(standing, width), Text(), *_grid(learning, width)]
        above = [Text(self._title, "bold"), self._progress(iteration, width)]
        below = [Text(), *numbers, self._hint(iteration), self._last_line(width)]
        return [*above, *self._curve_lines(iteration, width, rows - len(above) - len(below)), *below]

    def _essentials(self, iteration: Iteration, width: int, rows: int) -> list[Text]:
        metrics, progress = iteration.metrics, iteration.progress
        share = metrics.env_steps / self._total
        lines = [
            Text(self._title),
            Text.assemble(f"{share:4.0%} ", *_bar(share, width - 5)),
            Text(f"return {_return(iteration.verdict.recent_return)}, target {_return(iteration.verdict.target)}"),
            Text(f"elapsed {clock(self._elapsed)}, ETA {clock(self._eta)}"),
            Text(f"{metrics.env_steps:,} of {self._total:,} env steps"),
            Text(f"solved {_solved(iteration)}, best evaluation {_return(progress.best_return)}"),
            self._hint(iteration),
        ]
        curve = self._curve_lines(iteration, width, rows - len(lines) - 1) if width >= CURVE_COLUMNS else []
        return [*lines[: rows - 1], *curve, Text(self._what_stops, "dim")]

    def _progress(self, iteration: Iteration, width: int) -> Text:
        env_steps = iteration.metrics.env_steps
        share, total = env_steps / self._total, f"{self._total:,}"
        percent = f"{share:4.0%} "
        rest = (
            f"  {env_steps:>{len(total)},} of {total} env steps"
            f"  elapsed {clock(self._elapsed):<5}  ETA {clock(self._eta):<5}"
        )
        return Text.assemble(percent, *_bar(share, width - len(percent) - len(rest)), rest)

    def _curve_lines(self, iteration: Iteration, width: int, rows: int) -> list[Text]:
        """Return an empty line and the curve, or nothing where there is no room for it."""
        height = min(rows - 1, width // 4)  # a character is twice as high as it is wide
        if height < CURVE_ROWS:
            return []
        references = {"target": iteration.verdict.target, "random": self._baseline_mean}
        known = {name: value for name, value in references.items() if value is not None}
        return [Text(), *self._curve.lines(width, height, known, self._ascii_only)]

    def _standing(self, iteration: Iteration) -> list[list[Cell]]:
        metrics = iteration.metrics
        shares = {phase: f"{self._phase_seconds[phase] / self._training_seconds:.0%}" for phase in PHASES}
        return [
            [
                ("recent return", _return(iteration.verdict.recent_return)),
                ("episode length", _return(metrics.length_mean)),
                ("rollout time", shares["rollout"]),
            ],
            [
                ("target", _return(iteration.verdict.target)),
                ("env steps/s", f"{metrics.env_steps_per_second:,.0f}"),
                ("update time", shares["update"]),
            ],
            [
                ("best evaluation", _return(iteration.progress.best_return)),
                ("solved", _solved(iteration)),
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

    def _hint(self, iteration: Iteration) -> Text:
        found = health.findings(self._recent, initial_entropy=self._initial_entropy, target=iteration.verdict.target)
        if found:
            return Text(f"! {found[0].advice}", "yellow")
        if iteration.metrics.iteration < health.FIRST_ITERATION:
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
    # This command's seconds, not those that a resumed run has behind it

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


def _return(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:z,.1f}" if abs(value) < 1e7 else f"{value:.3e}"


def _fixed(value: float, digits: int) -> str:
    return f"{value:z.{digits}f}" if abs(value) < 1000 else f"{value:.1e}"


def _solved(iteration: Iteration) -> str:
    solved_at = iteration.progress.solved_at_env_steps
    if iteration.verdict.target is None:
        return "no target"
    return "not yet" if solved_at is None else f"at {solved_at:,}"
