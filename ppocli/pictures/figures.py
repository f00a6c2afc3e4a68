"""Figures for people: PNG, SVG or PDF, drawn without a display."""

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter, ScalarFormatter

from ppocli.evaluation import curves, moves
from ppocli.evaluation.curves import Axis, Band, Group, Statistic
from ppocli.evaluation.results import baseline_returns
from ppocli.files import placing, write_atomically
from ppocli.records.catalog import common_folder
from ppocli.records.logs import LoggedEpisode
from ppocli.records.run import Run
from ppocli.views.text import number

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito's colours, which all eyes tell apart (but black, unseen in the dark), and line styles, which print does.
COLORS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_STYLES = ("-", "--", "-.", ":")
AGENT, RANDOM, TARGET = COLORS[0], "#D55E00", "#404040"
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.usetex": False,  # whatever a user has set: names are no TeX
    "svg.hashsalt": "ppocli",  # the same figure is the same file
}
_AXIS_TITLES = {Axis.ENV_STEPS: "env steps", Axis.SECONDS: "seconds of training"}


def draw(
    runs: Sequence[Run],
    output: Path | None = None,
    axis: Axis = Axis.ENV_STEPS,
    statistic: Statistic = Statistic.MEAN,
    *,
    of_updates: bool = False,
) -> Path:
    """Draw one run beside the random policy, or the learning curves of several; return where the figure lies.

    With `of_updates` it is `why`. By default it lies in `plots/`, in the run's directory or in the folder that holds
    them all. The runs have to be `drawable`. Raises PpocliError where nothing can be written, and what
    `baseline_returns` raises.
    """
    folder = runs[0].path if len(runs) == 1 else common_folder(runs)
    if of_updates:
        figure = why(curves.groups(runs), axis, statistic)
        output = output or folder / "plots" / "why.png"
    elif len(runs) == 1:
        (run,) = runs
        baseline = baseline_returns(run.config, run.baseline, masks_actions=run.info.masks_actions)
        title = ", ".join(filter(None, [run.config.env.id, curves.groups(runs)[0].label]))
        figure = comparison(title, run.config.algorithm.upper(), run.episodes(), baseline, run.info.target_return)
        output = output or folder / "plots" / "returns.png"
    else:
        figure = learning_curves(curves.groups(runs), axis, statistic)
        output = output or folder / "plots" / "learning-curves.png"
    _write(figure, output)
    return output


def comparison(
    title: str, algorithm: str, episodes: Sequence[LoggedEpisode], baseline: Sequence[float], target: float | None
) -> Figure:
    """Draw an agent's training episodes, each a dot, beside those of the random policy, on the same axis of returns."""
    returns = [episode.episode_return for episode in episodes]
    means = curves.running_mean(returns)
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        agent, random = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
        _dots(agent, returns, AGENT)
        label = f"mean of the last {curves.WINDOW}, {number(means[-1])} at the end"
        agent.plot(np.arange(1, len(returns) + 1), means, color="black", label=label)
        heading = f"{algorithm} agent in training\neach dot an episode"
        _finish(agent, {target}, title=heading, xlabel="episode", ylabel="episode return")
        _legend(agent)
        _dots(random, baseline, RANDOM)
        random.axhline(np.mean(baseline), color="black")
        _finish(random, {target}, title=f"random policy\nmean {number(float(np.mean(baseline)))}", xlabel="episode")
        figure.suptitle(title, fontweight="bold", parse_math=False)
    return figure


def _dots(axes: Axes, returns: Sequence[float], color: str) -> None:
    numbers, size = np.arange(1, len(returns) + 1), float(np.clip(6000 / len(returns), 3, 14))
    # Thousands of them would make an SVG or a PDF slow to open, so they become a picture in it.
    axes.scatter(numbers, returns, s=size, color=color, alpha=0.45, linewidths=0, rasterized=True)


def _finish(axes: Axes, targets: set[Any], **titles: str) -> None:
    for target in targets - {None}:
        axes.axhline(target, color=TARGET, linestyle="--", linewidth=1, label=f"solved: {target:g}")
    axes.set(**titles)
    axes.set_xlim(left=0)


def _legend(axes: Axes) -> float:
    """Add the legend, below the axes where it would hide the curves; return how many inches it takes there."""
    lines = sum(label.count("\n") + 1 for label in axes.get_legend_handles_labels()[1])
    below: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 5.5}  # clears the title
    place = below if lines > 5 else {"loc": "best"}
    legend = axes.legend(**place, fontsize=8.5, handlelength=3, frameon=True, framealpha=0.85, edgecolor="none")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a config may be called what it likes
    return 0.175 * lines if lines > 5 else 0.0


def learning_curves(found: Sequence[Group], axis: Axis, statistic: Statistic) -> Figure:
    """Draw a panel an environment, with a curve and its 95 % band for each group of runs."""
    env_ids = list(dict.fromkeys(group.env_id for group in found))
    columns = min(len(env_ids), 3)
    rows = math.ceil(len(env_ids) / columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(2.4 + 4.4 * columns, 4.2 * rows), layout="constrained")
        panels, below = figure.subplots(rows, columns, squeeze=False).flatten().tolist(), []
        for axes, env_id in zip(panels, env_ids, strict=False):
            members = [group for group in found if group.env_id == env_id]
            _returns(axes, members, axis, statistic)
            axes.set_title(env_id)
            below.append(_legend(axes))
        for axes in panels[len(env_ids) :]:
            axes.set_axis_off()
        figure.set_figheight(4.2 * rows + sum(max(below[row : row + columns]) for row in range(0, len(below), columns)))
    return figure


def _look(place: int) -> tuple[str, str]:
    """Return the colour and the line style of so many-th a group of an environment."""
    return COLORS[place % len(COLORS)], LINE_STYLES[place % len(LINE_STYLES)]


def _returns(axes: Axes, members: Sequence[Group], axis: Axis, statistic: Statistic) -> None:
    """Draw the curve and the band of each group of an environment."""
    for place, group in enumerate(members):
        _band(axes, curves.band(group.runs, axis, statistic), place, _label(group, statistic))
    titles = {"xlabel": _AXIS_TITLES[axis], "ylabel": f"episode return, mean of the last {curves.WINDOW}"}
    _finish(axes, {group.target for group in members}, **titles)
    heights = np.concatenate([line.get_ydata() for line in axes.lines])
    room = np.ptp(heights) / 2 or 1.0  # that bands get: those of two seeds would dwarf all else
    axes.set_ylim(*np.clip(axes.get_ylim(), heights.min() - room, heights.max() + room))
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if axis is Axis.ENV_STEPS else ScalarFormatter())


def why(found: Sequence[Group], axis: Axis, statistic: Statistic) -> Figure:
    """Draw for each environment how returns rose, how far each update moved the policy, how many made it worse."""
    env_ids = list(dict.fromkeys(group.env_id for group in found))
    with rc_context(STYLE):
        figure = Figure(figsize=(13, 4.2 * len(env_ids)), layout="constrained")
        rows, below = figure.subplots(len(env_ids), 3, squeeze=False, width_ratios=[5, 5, 3]), 0.0
        for (returns, distances, shares), env_id in zip(rows, env_ids, strict=True):
            members = [group for group in found if group.env_id == env_id]
            _returns(returns, members, axis, statistic)
            returns.set_title(f"{env_id}: what it earned")
            below += _legend(returns)
            for place, group in enumerate(members):
                _moves(distances, group, place)
            distances.set(
                title="how far an update moved the policy", xlabel=_AXIS_TITLES[Axis.ENV_STEPS], ylabel="KL, nats"
            )
            distances.set_yscale("log")
            distances.set_xlim(left=0)
            distances.xaxis.set_major_formatter(EngFormatter(sep=""))
            _shares(shares, members)
        figure.set_figheight(4.2 * len(env_ids) + below)
    return figure


def _moves(axes: Axes, group: Group, place: int) -> None:
    """Draw each update of all runs of a group as a dot, and the running mean of each run as a line."""
    color, style = _look(place)
    for run in group.runs:
        env_steps, kl = moves.kl_of_updates(run.metrics())
        axes.scatter(env_steps, kl, s=3, color=color, alpha=0.15, linewidths=0, rasterized=True)
        if kl.size:
            axes.plot(env_steps, moves.running_geometric_mean(kl), color=color, linestyle=style, linewidth=1)


def _shares(axes: Axes, members: Sequence[Group]) -> None:
    """Draw a bar a group, with the 95 % t interval over its runs."""
    ends = [0.05]
    for place, group in enumerate(members):
        share, interval, count = moves.share_made_worse(group.runs)
        told, end = (f" {share:.1%} of {count:,}", share) if count else (" too few episodes", 0.0)
        axes.barh(place, end, color=_look(place)[0], height=0.6)
        if interval is not None:
            low, end = np.clip(interval, 0, 1)
            axes.plot([low, end], [place, place], color="black", linewidth=1.5)
        axes.text(end, place, told, va="center", fontsize=9, in_layout=False)
        ends.append(end)
    axes.set_yticks(range(len(members)), [textwrap.fill(group.label, 18) for group in members], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.6 * max(ends))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(title="updates that made it worse", xlabel="share")


def _band(axes: Axes, drawn: Band, number: int, label: str) -> None:
    color, style = _look(number)
    point = "o" if drawn.x[0] == drawn.x[-1] else None  # where all episodes have ended at once
    axes.plot(drawn.x, drawn.center, color=color, linestyle=style, marker=point, label=label)
    if drawn.interval is not None:
        axes.fill_between(drawn.x, *drawn.interval, color=color, alpha=0.2, linewidth=0)
    for tail in drawn.tails:
        axes.plot(*tail, color=color, linewidth=0.8, alpha=0.7)
    if drawn.tails:
        axes.lines[-1].set_label("  its runs, where the first has ended")


def _label(group: Group, statistic: Statistic) -> str:
    several = f"{statistic.replace('iqm', 'IQM')} of {len(group.runs)} seeds, 95\xa0%\xa0t\xa0interval"
    seeds = several if len(group.runs) > 1 else "1 seed"
    label = textwrap.fill(f"{group.label} ({seeds})" if group.label else seeds, 50)
    return f" {label}" if label.startswith("_") else label  # matplotlib leaves out what begins so


def _write(figure: Figure, output: Path) -> None:
    """Write a figure in the format that the file's name says. Raises PpocliError where it cannot be written."""
    content, suffix = io.BytesIO(), output.suffix.lower().removeprefix(".")
    dated = {"svg": "Date", "pdf": "CreationDate"}.get(suffix)
    with rc_context(STYLE):
        figure.savefig(content, format=suffix, dpi=150, metadata={dated: None} if dated else None)
    with placing(output):
        write_atomically(output, content.getvalue())
