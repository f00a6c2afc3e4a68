"""Training as one watches it: a screen in a terminal, redrawn after an iteration when it is time to."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ppocli.config.models import Config
from ppocli.envs.api import ActionSpec
from ppocli.errors import one_line
from ppocli.evaluation import health
from ppocli.records.checkpoint import Progress
from ppocli.records.logs import Metrics
from ppocli.signals import STOPPING, StopRequest
from ppocli.training.outcome import Iteration
from ppocli.views.curve import Curve
from ppocli.views.text import NOTHING, clock, mean_return

SHORTEST_INTERVAL_SECONDS = 0.25  # from one redraw to the next: eyes ask for no more
SHARE_OF_TIME = 0.01  # of training, that drawing may take: on a slow terminal or a busy machine it draws less often
FULL_COLUMNS, FULL_ROWS = 78, 14  # a smaller terminal shows the essential lines only, and the curve if there is room
WIDE_COLUMNS = 160  # from here on both blocks of numbers stand side by side, and the curve has their rows
CURVE_COLUMNS, CURVE_ROWS = 60, 5  # a smaller curve says nothing
PHASES = ("rollout", "update", "evaluation")
_ASCII = str.maketrans("━─▔▁│┌┐└┘·", "=---|++++-")


@dataclass(frozen=True)
class Known:
    """What is known of a run when the command begins."""

    progress: Progress = Progress()  # noqa: RUF009 - frozen
    history: Sequence[Metrics] = ()  # its rows of `metrics.csv`
    baseline_mean: float | None = None  # the random policy's mean return
    action_spec: ActionSpec | None = None


class Dashboard:
    """Shows a training in a terminal: how far it is, its curve, and what goes on inside.

    Drawn by `update` and by no thread of its own, which would take time from training. The last frame stays.
    """

    def __init__(
        self, config: Config, run_name: str, console: Console, known: Known = Known(), stop: StopRequest | None = None
    ) -> None:
        self._title = one_line(f"{config.env.id} · seed {config.train.seed} · {run_name}")
        self._iterations, self._total = config.num_iterations, config.total_env_steps
        self._known, self._saved_at = known, known.progress.env_steps
        self._iteration: Iteration | None = None
        self._solved_return: float | None = None  # of the check that found the task solved
        self._episode_length: float | None = None  # of the last iteration in which an episode ended
        self._info: dict[str, float] = {}  # means of the info keys, each of the last iteration that has one
        self._phase_seconds = dict.fromkeys(PHASES, 0.0)
        self._training_began = 0.0
        self._curve = Curve(self._total)
        self._health = health.Health(known.action_spec, config.num_iterations)
        for row in known.history:
            if row.env_steps <= known.progress.env_steps:  # what a killed run did after its checkpoint is done again
                self._remember(row)
        self._stop = stop
        if stop is not None:  # it is acknowledged in the last line
            # Where the cursor stands, and not wrapped, so that the next frame still finds its place.
            stop.acknowledgement = f"\r\x1b[2K\x1b[?7l{STOPPING}\x1b[?7h".encode()

        self._console, self._width, self._next_draw = console, console.width, 0.0
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
        metrics = iteration.metrics
        spent = {phase: getattr(metrics, f"{phase}_seconds") for phase in PHASES}
        if self._iteration is None:
            self._training_began = metrics.seconds - sum(spent.values())
        for phase in PHASES:
            self._phase_seconds[phase] += spent[phase]
        self._remember(metrics)
        self._iteration = iteration
        if iteration.verdict.solved_return is not None:
            self._solved_return = iteration.verdict.solved_return
        if iteration.saved:
            self._saved_at = metrics.env_steps
        began = time.perf_counter()
        if began < self._next_draw:
            return
        with suppress(OSError):
            self._fit_terminal()
            self._live.update(self._frame(), refresh=True)
        ended = time.perf_counter()
        self._next_draw = ended + max(SHORTEST_INTERVAL_SECONDS, (ended - began) / SHARE_OF_TIME)

    def _remember(self, row: Metrics) -> None:
        self._curve.add(row)
        self._health.add(row)
        self._info |= row.info
        if row.length_mean is not None:
            self._episode_length = row.length_mean

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
            numbers = _grid(standing | learning, width)
        else:
            numbers = [*_grid(standing, width), Text(), *_grid(learning, width)]
        above = [Text(self._title, "bold"), self._progress(iteration.metrics, width)]
        below = [Text(), *numbers, *self._asked_for(), self._hint(iteration), self._last_line(width)]
        return [*above, *self._curve_lines(iteration, width, rows - len(above) - len(below)), *below]

    def _essentials(self, iteration: Iteration, width: int, rows: int) -> list[Text]:
        env_steps, verdict = iteration.metrics.env_steps, iteration.verdict
        share, (elapsed, eta) = env_steps / self._total, self._clocks(iteration.metrics)
        lines = [
            Text(self._title),
            Text.assemble(f"{share:4.0%} ", *_bar(share, width - 5)),
            Text(f"return {mean_return(verdict.recent_return)}, target {mean_return(verdict.target)}"),
            Text(f"elapsed {elapsed}, ETA {eta}"),
            Text(f"{env_steps:,} of {self._total:,} env steps"),
            Text(f"solved {_solved(iteration)}, best evaluation {self._best_evaluation(iteration)}"),
            self._hint(iteration),
        ]
        curve = self._curve_lines(iteration, width, rows - len(lines) - 1) if width >= CURVE_COLUMNS else []
        return [*lines[: rows - 1], *curve, Text(self._what_stops, "dim")]

    def _progress(self, metrics: Metrics, width: int) -> Text:
        env_steps, total, (elapsed, eta) = metrics.env_steps, f"{self._total:,}", self._clocks(metrics)
        share = env_steps / self._total
        percent = f"{share:4.0%} "
        rest = f"  {env_steps:>{len(total)},} of {total} env steps  elapsed {elapsed:<5}  ETA {eta:<5}"
        return Text.assemble(percent, *_bar(share, width - len(percent) - len(rest)), rest)

    def _clocks(self, metrics: Metrics) -> tuple[str, str]:
        """Return the time that this command has taken, not what a resumed run has behind it, and the time that is left.

        The latter follows from the mean speed so far: evaluations count, the start does not, and it jumps about little.
        """
        before, seconds, env_steps = self._known.progress, metrics.seconds, metrics.env_steps
        eta = (seconds - self._training_began) / (env_steps - before.env_steps) * (self._total - env_steps)
        return clock(seconds - before.seconds), clock(eta)

    def _curve_lines(self, iteration: Iteration, width: int, rows: int) -> list[Text]:
        """Return an empty line and the curve, or nothing where there is no room for it."""
        height = min(rows - 1, width // 4)  # a character is twice as high as it is wide
        if height < CURVE_ROWS:
            return []
        references = {"target": iteration.verdict.target, "random": self._known.baseline_mean}
        known = {name: value for name, value in references.items() if value is not None}
        return [Text(), *self._curve.lines(width, height, known, self._ascii_only)]

    def _standing(self, iteration: Iteration) -> dict[str, str]:
        metrics, verdict = iteration.metrics, iteration.verdict
        training_seconds = metrics.seconds - self._training_began
        return {
            "recent return": mean_return(verdict.recent_return),
            "target": mean_return(verdict.target),
            "best evaluation": self._best_evaluation(iteration),
            "episode length": mean_return(self._episode_length),
            "env steps/s": f"{metrics.env_steps_per_second:,.0f}",
            "solved": _solved(iteration),
            **{f"{phase} time": f"{self._phase_seconds[phase] / training_seconds:.0%}" for phase in PHASES},
        }

    def _best_evaluation(self, iteration: Iteration) -> str:
        """Return the best that a greedy policy did, in an evaluation or in the check that found the task solved."""
        found = (iteration.progress.best_return, self._solved_return)
        return mean_return(max((value for value in found if value is not None), default=None))

    def _learning(self, metrics: Metrics) -> dict[str, str]:
        explained = metrics.explained_variance
        return {
            "policy loss": _fixed(metrics.policy_loss, 4),
            "value loss": NOTHING if metrics.value_loss is None else f"{metrics.value_loss:.2e}",
            "gradient norm": _fixed(metrics.gradient_norm, 3),
            # Of what only some algorithms have, there is room for two.
            **_first_known({"approx KL": (metrics.approx_kl, 4), "KL": (metrics.kl, 4)}),
            **_first_known({"clip fraction": (metrics.clip_fraction, 3), "step length": (metrics.step_length, 3)}),
            "learning rate": f"{metrics.learning_rate:.2e}",
            "entropy": _fixed(metrics.entropy, 3),
            "explained variance": _fixed(explained, 2 if explained is None or explained > -10 else 0),
            "iteration": f"{metrics.iteration:,} of {self._iterations:,}",
        }

    def _asked_for(self) -> list[Text]:
        """Return a line of the info keys, where there are any beside the success that all may have."""
        cells = [part for key, mean in self._info.items() for part in ((f"{one_line(key)} ", "dim"), f"{mean:.4g}   ")]
        return [Text.assemble(*cells)] if cells else []

    def _hint(self, iteration: Iteration) -> Text:
        if found := self._health.findings(iteration.verdict.target):
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


def _grid(cells: Mapping[str, str], width: int) -> list[Text]:
    """Lay cells out in three rows, column by column, and none ever moves: labels to the left, values to the right."""
    gap, columns = "   ", len(cells) // 3
    cell_width = min((width + len(gap)) // columns - len(gap), 30)
    texts = [Text.assemble((label, "dim"), f"{value:>{cell_width - len(label)}}") for label, value in cells.items()]
    return [Text(gap).join(texts[row::3]) for row in range(3)]


def _bar(share: float, width: int) -> tuple[tuple[str, str], tuple[str, str]]:
    done = int(share * width)
    return ("━" * done, "cyan"), ("─" * (width - done), "dim")


def _first_known(cells: Mapping[str, tuple[float | None, int]]) -> dict[str, str]:
    """Return the first cell that has a value to show, else the last."""
    label = next((label for label, (value, _) in cells.items() if value is not None), [*cells][-1])
    return {label: _fixed(*cells[label])}


def _fixed(value: float | None, digits: int) -> str:
    if value is None:
        return NOTHING
    return f"{value:z.{digits}f}" if abs(value) < 1000 else f"{value:.1e}"


def _solved(iteration: Iteration) -> str:
    solved_at = iteration.progress.solved_at_env_steps
    if iteration.verdict.target is None:
        return "no target"
    return "not yet" if solved_at is None else f"at {solved_at:,}"
