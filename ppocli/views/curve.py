"""A learning curve in a terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import uniplot
from numpy.typing import NDArray
from rich.text import Text

from ppocli.envs.api import LARGEST
from ppocli.records.logs import Metrics
from ppocli.views.text import mean_return


class Curve:
    """Mean episode returns over a run's env steps, gathered in bins, so that the longest run takes no more memory."""

    BINS = 1000
    MOST_POINTS = 72  # in the widest terminal, too: a mean over more episodes makes a calmer curve

    def __init__(self, total_env_steps: int) -> None:
        self._total = total_env_steps
        self._episodes = np.zeros(self.BINS)
        self._returns = np.zeros(self.BINS)  # summed up

    def add(self, row: Metrics) -> None:
        """Take in the episodes of an iteration."""
        if row.return_mean is None:
            return
        mean = max(-LARGEST, min(row.return_mean, LARGEST))  # beyond it sums would be infinite
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
        names = {name: f"{name} {mean_return(value)}" for name, value in references.items()}
        margin = max(map(len, [*names.values(), ", ".join(names), "-1.2e+100"]))
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
        # Beside each row stands what it is, where it is one of the bounds or the references.
        labels = [f"{high:.5g}", *[""] * (rows - 2), f"{low:.5g}"]
        row_of = {name: max(0, rows - 1 - int((y - low) / (high - low) * rows)) for name, y in references.items()}
        for row in row_of.values():
            here = [name for name in row_of if row_of[name] == row]
            labels[row] = names[here[0]] if len(here) == 1 else ", ".join(here)
        begin, end = " 0 ", f" {self._total:,} "
        axis = f"{' env steps ':─^{max(0, columns - len(begin) - len(end))}}"
        return [
            Text(f"┌{' mean return of the episodes ':─<{columns}}┐", "dim"),
            *[_curve_row(line, label) for line, label in zip(drawn.splitlines()[1:-1], labels, strict=True)],
            Text(f"└{begin}{axis}{end}┘", "dim"),
        ]


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
