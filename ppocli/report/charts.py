"""The charts of a report, for plotly.js: learning, evaluation, and the health of the training."""

import html
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ppocli.errors import one_line
from ppocli.evaluation import curves, health
from ppocli.pictures.figures import COLORS, RANDOM
from ppocli.records.logs import Metrics
from ppocli.records.run import Run
from ppocli.report.data import EnvironmentData, GroupData, RunData
from ppocli.views import text

MAX_POINTS = 2_000  # that a chart has of one log; more would make the page slow and show nothing else


@dataclass(frozen=True)
class Chart:
    """A figure for plotly.js."""

    figure: dict[str, Any]
    label: str  # what it shows, for those who cannot see it
    height: int  # pixels
    note: str = ""  # what it leaves out, to stand at the end of its caption
    heading: str = ""  # where there are several


_DASHES = ("solid", "dash", "dashdot", "dot")  # what plotly.js calls the line styles of figures
_TARGET = "#808080"
_LAYOUT: Any = {
    "margin": {"l": 8, "r": 12, "t": 36, "b": 8},  # above, the icons have room
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "hovermode": "closest",
}
_BOX = {"orientation": "h", "boxpoints": "all", "jitter": 0.6, "pointpos": 0, "boxmean": True, "hoveron": "points"}
_ENV_STEPS = {"tickformat": "~s", "hoverformat": ",d", "rangemode": "tozero"}


@dataclass(frozen=True)
class _Sign:
    """A number of an iteration that tells how training goes."""

    heading: str
    of: Callable[[Metrics], float | None]
    limit: float | None = None  # that is drawn


_EXPLAINED = "Explained variance"
_SIGNS = (
    _Sign("Approximate KL divergence", attrgetter("approx_kl"), health.LARGEST_APPROX_KL),
    _Sign("Entropy", attrgetter("entropy")),
    _Sign(_EXPLAINED, attrgetter("explained_variance"), health.SMALLEST_EXPLAINED_VARIANCE),
    _Sign("Clip fraction", attrgetter("clip_fraction"), health.LARGEST_CLIP_FRACTION),
    _Sign("KL divergence of an update", attrgetter("kl"), health.LARGEST_KL),
    _Sign("Line search steps", attrgetter("line_search_steps")),
)


def _figure(traces: Sequence[Any], **layout: Any) -> dict[str, Any]:
    """Return a figure as plotly.js takes it, once plotly has checked that it knows every key.

    Plain lists go through as they are, so that the browser has the very numbers of the logs; arrays would not.
    """
    figure: dict[str, Any] = go.Figure(traces, _LAYOUT | layout).to_plotly_json()
    del figure["layout"]["template"]  # the page has its own, which follows its colours
    return figure


def _axis(name: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": name, "standoff": 8}, "automargin": True, "zeroline": False, **more}


def _text(label: str) -> str:
    """Return text as a chart takes it, which reads some tags of HTML."""
    return html.escape(label, quote=False)


def _look(number: int) -> dict[str, Any]:
    """Return the colour and the line style of so many-th a group, which it has in figures, too."""
    return {"color": COLORS[number % len(COLORS)], "dash": _DASHES[number % len(_DASHES)]}


def _transparent(color: str) -> str:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return f"rgba({red},{green},{blue},0.2)"


def _line(points: tuple[Any, Any], who: str, line: dict[str, Any], told: str = "%{y:,.1f}", **more: Any) -> Any:
    """Return the line through `points`, x and y; a `name` is its entry in the legend where that is not `who`."""
    hover = f"{who}: {told}<br>at %{{x:,.0f}} env steps<extra></extra>"
    values = {"x": points[0], "y": points[1], "mode": "lines", "name": who, "line": line, "hovertemplate": hover}
    return go.Scatter(values | more)


def _level(value: float, name: str, color: str, axis: str = "y") -> dict[str, Any]:
    """Return a line through the whole chart at a return, with its name beside it; `axis` is that of the returns."""
    across = "x" if axis == "y" else "y"
    ends = {f"{axis}0": value, f"{axis}1": value, f"{across}ref": "paper", f"{across}0": 0, f"{across}1": 1}
    place = {"textposition": "start", "textangle": 0, "xanchor": "right", "yanchor": "bottom"}
    line = {"color": color, "width": 1.5, "dash": "dash"}
    return {
        "type": "line",
        "layer": "below",
        "line": line,
        "label": {"text": name, "font": {"size": 11}} | place,
    } | ends


def _target_levels(environment: EnvironmentData, axis: str = "y") -> list[dict[str, Any]]:
    return [_level(target, f"solved: {text.plain(target)}", _TARGET, axis) for target in environment.targets]


def thinned(rows: Sequence[Any]) -> tuple[list[Any], int]:
    """Return every k-th row, the last among them, so that at most MAX_POINTS are left; and k."""
    every = math.ceil(len(rows) / MAX_POINTS) or 1
    return list(rows[(len(rows) - 1) % every :: every]), every


def _thinning_note(logs: Sequence[Sequence[Any]], what: str) -> str:
    every = max(thinned(rows)[1] for rows in logs)
    return f" Drawn is one {what} in {every}." if every > 1 else ""


def learning_chart(environment: EnvironmentData) -> Chart | None:
    """Return how the returns of training episodes rose, None where no episode has ended yet."""
    begun = [run for run in environment.runs if run.episodes]
    if not begun:
        return None
    if len(begun) == 1:
        traces = _episode_traces(begun[0])
    else:
        traces = [trace for number, group in enumerate(environment.groups) for trace in _group_traces(group, number)]
    means = {name: float(np.mean(returns)) for name, returns in environment.random_returns.items()}
    random = [_level(mean, f"{_text(name)}: {text.number(mean)}", RANDOM) for name, mean in means.items()]
    drawn = [y for trace in traces if trace.line.width != 0 for y in trace.y]  # edges of bands have no width
    heights = [*drawn, *environment.targets, *means.values()]
    room = (max(heights) - min(heights)) / 2 or 1.0  # that bands get: those of two seeds would dwarf all else
    limits = {"clipmin": min(heights) - room, "clipmax": max(heights) + room}
    axes = {"xaxis": _axis("env steps", **_ENV_STEPS), "yaxis": _axis("episode return", autorangeoptions=limits)}
    figure = _figure(traces, **axes, shapes=[*_target_levels(environment), *random])
    note = _thinning_note([run.episodes for run in begun], "episode")
    return Chart(figure, f"Learning curve of {environment.env_id}: episode return over env steps", 440, note)


def _running_means(run: RunData) -> tuple[list[float], list[float]]:
    """Return where episodes of a run ended, and the mean return of the last ones at each."""
    env_steps, means = curves.learning_curve(run.episodes, curves.Axis.ENV_STEPS)
    return thinned(env_steps.tolist())[0], thinned(means.tolist())[0]


def _episode_traces(run: RunData) -> list[Any]:
    """Return the training episodes of a run and their running mean."""
    episodes, _ = thinned(run.episodes)
    points = go.Scatter(
        x=[episode.env_steps for episode in episodes],
        y=[episode.episode_return for episode in episodes],
        customdata=[[episode.episode, episode.episode_length] for episode in episodes],
        mode="markers",
        name="training episode",
        marker={"color": COLORS[0], "size": 5, "opacity": 0.45},
        hovertemplate="episode %{customdata[0]:,}<br>return %{y:,.1f}, %{customdata[1]:,} env steps long"
        "<br>ended at %{x:,} env steps<extra></extra>",
    )
    return [points, _line(_running_means(run), f"mean of the last {curves.WINDOW}", _look(0) | {"width": 3})]


def _group_traces(data: GroupData, number: int) -> list[Any]:
    """Return the curves of a group: its seeds, and where there are several their mean with its band."""
    begun, look, label = [run for run in data.runs if run.episodes], _look(number), _text(data.group.label)
    if len(begun) < 2:
        return [_line(_running_means(run), label or _text(run.label), look | {"width": 3}) for run in begun]
    config = f"{label}: " if label else ""
    # One entry in the legend turns all seeds on and off.
    entry: Any = {"name": f"{config}each seed", "legendgroup": f"seeds {number}", "legendrank": 2000, "opacity": 0.6}
    thin = look | {"width": 1, "dash": "solid"}
    seeds = [_line(_running_means(run), _text(run.label), thin, showlegend=run is begun[0], **entry) for run in begun]
    together = curves.overlapping([run.run for run in begun], curves.Axis.ENV_STEPS)
    return (
        [*_band_traces(together, f"{config}mean of {len(together)} seeds", look), *seeds]
        if len(together) > 1
        else seeds
    )


def _band_traces(runs: Sequence[Run], name: str, look: dict[str, Any]) -> list[Any]:
    """Return the lower and the upper edge of the band, filled between them, and the mean."""
    found = curves.band(runs, curves.Axis.ENV_STEPS, curves.Statistic.MEAN)
    assert found.interval is not None  # there are two runs or more
    x, low, high, center = (numbers.tolist() for numbers in (found.x, *found.interval, found.center))
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "legendgroup": name}
    lower = go.Scatter(x=x, y=low, **edge)
    upper = go.Scatter(x=x, y=high, fill="tonexty", fillcolor=_transparent(look["color"]), **edge)
    told = "%{y:,.1f}<br>95 % t interval %{customdata[0]:,.1f} to %{customdata[1]:,.1f}"
    interval = np.transpose(found.interval).tolist()
    return [lower, upper, _line((x, center), name, look | {"width": 3}, told, legendgroup=name, customdata=interval)]


def evaluation_chart(environment: EnvironmentData) -> Chart | None:
    """Return the returns of every evaluated episode beside those of the random policy, None where there are none."""
    boxes = [
        _box(run.label, run.returns, _look(number)["color"], run.evaluation.episode_seeds)
        for number, group in enumerate(environment.groups)
        for run in group.runs
        if run.evaluation
    ]
    if not boxes:
        return None
    boxes += [_box(name, returns, RANDOM) for name, returns in environment.random_returns.items()]
    axes = {"xaxis": _axis("episode return"), "yaxis": {"automargin": True, "autorange": "reversed"}}
    figure = _figure(boxes, **axes, shapes=_target_levels(environment, "x"), showlegend=False)
    label = f"Distribution of episode returns in {environment.env_id}, each agent and the random policy"
    lines = max(box.name.count("<br>") for box in boxes)
    return Chart(figure, label, 120 + len(boxes) * max(70 if len(boxes) <= 6 else 44, 16 * (lines + 1)))


def _box(name: str, returns: Sequence[float], color: str, seeds: Sequence[int] = ()) -> Any:
    seed = "<br>episode seed %{customdata}" if seeds else ""
    return go.Box(
        x=list(returns),
        name="<br>".join(map(_text, textwrap.wrap(name, 28))),  # so that a phone has room for the returns
        customdata=list(seeds),
        line={"color": color, "width": 1.5},
        fillcolor=_transparent(color),
        marker={"color": color, "size": 5, "opacity": 0.6},
        hovertemplate=f"{_text(name)}<br>return %{{x:,.1f}}{seed}<extra></extra>",
        **_BOX,
    )


def health_charts(environment: EnvironmentData) -> list[Chart]:
    """Return a small chart for each number that tells how training goes, where any run has it."""

    rows = [row for run in environment.runs for row in run.metrics]
    asked = [
        _Sign(one_line(key), partial(_info, key)) for key in dict.fromkeys(key for row in rows for key in row.info)
    ]
    known = [sign for sign in (*_SIGNS, *asked) if any(sign.of(row) is not None for row in rows)]
    return [_health_chart(environment, sign) for sign in known]


def _info(key: str, row: Metrics) -> float | None:
    return row.info.get(key)


def _health_chart(environment: EnvironmentData, sign: _Sign) -> Chart:
    traces, y_axis = [], _axis("", tickformat="~g")
    for number, group in enumerate(environment.groups):
        for seed, run in enumerate(group.runs):
            rows = [row for row in thinned(run.metrics)[0] if sign.of(row) is not None]
            points = [row.env_steps for row in rows], [sign.of(row) for row in rows]
            # A colour stands for a config, as in the learning chart, or for a seed of the only one.
            look = _look(seed if len(environment.groups) == 1 else number) | {"width": 1.5}
            traces.append(_line(points, _text(run.label), look, "%{y:.4~g}"))
    note = _thinning_note([run.metrics for run in environment.runs], "iteration")
    if sign.heading == _EXPLAINED and min(min(trace.y, default=0.0) for trace in traces) < -1:
        y_axis["range"] = [-1.05, 1.05]
        note += " What lies below −1 is out of sight; a double click on the chart shows it."
    levels = [] if sign.limit is None else [_level(sign.limit, "", _TARGET)]
    axes = {"xaxis": _axis("", **_ENV_STEPS), "yaxis": y_axis}
    figure = _figure(traces, **axes, shapes=levels, showlegend=len(environment.groups) == 1 < len(traces))
    return Chart(figure, f"{sign.heading} over env steps, {environment.env_id}", 260, note, sign.heading)
