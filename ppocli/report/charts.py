"""The charts of a report, for plotly.js: learning, evaluation, and the health of the training."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ppocli.errors import RunError
from ppocli.evaluation import health
from ppocli.evaluation.curves import WINDOW, Axis, Statistic, band
from ppocli.pictures.figures import COLORS, RANDOM
from ppocli.records.run import Run
from ppocli.report.data import EnvironmentData, GroupData, RunData
from ppocli.views import text

MAX_POINTS = 2_000
"""That a chart has of one log; more would make the page slow and show nothing else."""


@dataclass(frozen=True)
class Chart:
    """A figure for plotly.js, and what it shows in words."""

    caption: str
    label: str
    """For those who cannot see it."""
    height: int
    """Pixels."""
    figure: dict[str, Any]
    heading: str = ""
    """Where there are several."""


# The random policy keeps its colour, and black cannot be seen on a dark page.
_COLORS = tuple(color for color in COLORS if color not in (RANDOM, "#000000"))
_DASHES = ("solid", "dash", "dashdot", "dot")
_TARGET = "#808080"
_LAYOUT: Any = {
    "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "hovermode": "closest",
    "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
}


def _figure(traces: Sequence[Any], **layout: Any) -> dict[str, Any]:
    """Return a figure as plotly.js takes it, once plotly has checked that it knows every key.

    Plain lists go through as they are, so that the browser has the very numbers of the logs; arrays would not.
    """
    figure: dict[str, Any] = go.Figure(traces, _LAYOUT | layout).to_plotly_json()
    del figure["layout"]["template"]  # the page has its own, which follows its colours
    return figure


def _axis(name: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": name, "standoff": 8}, "automargin": True, "zeroline": False, **more}


def _env_steps(name: str = "env steps") -> dict[str, Any]:
    return _axis(name, tickformat="~s", hoverformat=",d", rangemode="tozero")


def _text(label: str) -> str:
    """Return text as a chart takes it, which reads some tags of HTML."""
    return html.escape(label, quote=False)


def _transparent(color: str) -> str:
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"


def _line(x: Sequence[float], y: Sequence[float], name: str, color: str, width: float, **more: Any) -> Any:
    dash = more.pop("dash", "solid")
    values = {
        "x": x,
        "y": y,
        "mode": "lines",
        "name": name,
        "line": {"color": color, "width": width, "dash": dash},
        "hovertemplate": f"{name}: %{{y:,.1f}}<br>at %{{x:,}} env steps<extra></extra>",
    }
    return go.Scatter(values | more)


def _level(value: float, name: str, color: str, *, below: bool = False, upright: bool = False) -> dict[str, Any]:
    """Return a line through the whole chart at a return, with its name above or below it."""
    label: dict[str, Any] = {
        "text": name,
        "textposition": "end",
        "yanchor": "top" if below else "bottom",
        "font": {"size": 11},
    }
    ends: dict[str, Any] = {"y0": value, "y1": value, "xref": "paper", "x0": 0, "x1": 1}
    if upright:
        label |= {"textangle": 0, "xanchor": "right", "yanchor": "top"}
        ends = {"x0": value, "x1": value, "yref": "paper", "y0": 0, "y1": 1}
    line = {"color": color, "width": 1.5, "dash": "dash"}
    return {"type": "line", "layer": "below", "line": line, "label": label, **ends}


def _target_levels(environment: EnvironmentData, **more: Any) -> list[dict[str, Any]]:
    return [_level(target, f"solved: {text.plain(target)}", _TARGET, **more) for target in environment.targets]


def thinned(rows: Sequence[Any]) -> tuple[list[Any], int]:
    """Return every k-th row, the last among them, so that at most MAX_POINTS are left; and k."""
    every = math.ceil(len(rows) / MAX_POINTS) or 1
    return list(rows[(len(rows) - 1) % every :: every]), every


def _thinning_note(every: int, what: str) -> str:
    return f" Drawn is one {what} in {every}." if every > 1 else ""


def learning_chart(environment: EnvironmentData) -> Chart | None:
    """Return how the returns of training episodes rose, None where no episode has ended yet."""
    begun = [run for run in environment.runs if run.episodes]
    if not begun:
        return None
    if len(begun) == 1:
        traces = _episode_traces(begun[0])
        caption = f"Each point is a training episode; the line is the mean of the last {WINDOW}."
    else:
        traces = [trace for number, group in enumerate(environment.groups) for trace in _group_traces(group, number)]
        caption = (
            f"Mean return of the last {WINDOW} training episodes. Where there are several seeds: their mean, its 95 % "
            "bootstrap interval as a band, both up to the end of the shortest, and each of them as a thin line."
        )
    caption += _thinning_note(max(thinned(run.episodes)[1] for run in begun), "episode")
    levels = _target_levels(environment, below=True)
    for name, returns in environment.random_returns.items():
        levels.append(_level(float(np.mean(returns)), f"{_text(name)}: {text.number(float(np.mean(returns)))}", RANDOM))
    figure = _figure(traces, xaxis=_env_steps(), yaxis=_axis("episode return"), shapes=levels)
    label = f"Learning curve of {environment.env_id}: episode return over env steps"
    return Chart(caption, label, 440, figure)


def _episode_traces(run: RunData) -> list[Any]:
    """Return the training episodes of a run and their running mean."""
    episodes, _ = thinned(run.episodes)
    x = [episode.env_steps for episode in episodes]
    points = go.Scatter(
        x=x,
        y=[episode.episode_return for episode in episodes],
        customdata=[[episode.episode, episode.episode_length] for episode in episodes],
        mode="markers",
        name="training episode",
        marker={"color": _COLORS[0], "size": 5, "opacity": 0.45},
        hovertemplate="episode %{customdata[0]:,}<br>return %{y:,.1f}, %{customdata[1]:,} env steps long"
        "<br>ended at %{x:,} env steps<extra></extra>",
    )
    return [points, _line(x, thinned(run.running_means)[0], f"mean of the last {WINDOW}", _COLORS[0], 3)]


def _group_traces(data: GroupData, number: int) -> list[Any]:
    """Return the curves of a group: its seeds, and where there are several their mean with its band."""
    begun = [run for run in data.runs if run.episodes]
    color, dash = _COLORS[number % len(_COLORS)], _DASHES[number % len(_DASHES)]
    label = _text(data.group.label)
    if len(begun) < 2:
        return [_seed_trace(run, label or _text(run.label), color, 3, dash=dash) for run in begun]
    seeds = [_seed_trace(run, _text(run.label), color, 1, opacity=0.6, legendgroup=f"seeds {number}") for run in begun]
    for trace in seeds:  # one entry in the legend turns all of them on and off
        trace.update(
            name=f"{label}: each seed" if label else "each seed", showlegend=trace is seeds[0], legendrank=2000
        )
    name = f"{label}: mean of {len(begun)} seeds" if label else f"mean of {len(begun)} seeds"
    try:
        return [*_band_traces([run.run for run in begun], name, color, dash), *seeds]
    except RunError:  # one ends before another's first episode does: each by itself is all there is
        return seeds


def _seed_trace(run: RunData, name: str, color: str, width: float, **more: Any) -> Any:
    x = [episode.env_steps for episode in thinned(run.episodes)[0]]
    return _line(x, thinned(run.running_means)[0], name, color, width, **more)


def _band_traces(runs: Sequence[Run], name: str, color: str, dash: str) -> list[Any]:
    """Return the lower and the upper edge of the band, filled between them, and the mean."""
    found = band(runs, Axis.ENV_STEPS, Statistic.MEAN)
    assert found.interval is not None  # there are two runs or more
    x, low, high = found.x.tolist(), found.interval[0].tolist(), found.interval[1].tolist()
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "legendgroup": name}
    middle = _line(
        x,
        found.center.tolist(),
        name,
        color,
        3,
        dash=dash,
        legendgroup=name,
        customdata=[list(ends) for ends in zip(low, high, strict=True)],
        hovertemplate=f"{name}: %{{y:,.1f}}<br>95 % interval %{{customdata[0]:,.1f}} to %{{customdata[1]:,.1f}}"
        "<br>at %{x:,.0f} env steps<extra></extra>",
    )
    fill = {"fill": "tonexty", "fillcolor": _transparent(color)}
    return [go.Scatter(x=x, y=low, **edge), go.Scatter(x=x, y=high, **edge, **fill), middle]


def evaluation_chart(environment: EnvironmentData) -> Chart | None:
    """Return the returns of every evaluated episode beside those of the random policy, None where there are none."""
    boxes = [
        _box(run.label, run.returns, _COLORS[number % len(_COLORS)], run.evaluation.episode_seeds)
        for number, group in enumerate(environment.groups)
        for run in group.runs
        if run.evaluation
    ]
    if not boxes:
        return None
    boxes += [_box(name, returns, RANDOM) for name, returns in environment.random_returns.items()]
    caption = (
        "Each point is an unseen episode, played greedily by the agent, or at random. A box holds the middle half of "
        "them; its line is the median, its dashes the mean."
    )
    figure = _figure(
        boxes,
        xaxis=_axis("episode return"),
        yaxis={"automargin": True, "autorange": "reversed"},
        shapes=_target_levels(environment, upright=True),
        showlegend=False,
    )
    label = f"Distribution of episode returns in {environment.env_id}, each agent and the random policy"
    return Chart(caption, label, 110 + len(boxes) * (70 if len(boxes) <= 6 else 44), figure)


def _box(name: str, returns: Sequence[float], color: str, seeds: Sequence[int] = ()) -> Any:
    return go.Box(
        x=list(returns),
        name=_text(name).replace(" (", "<br>(", 1),  # in two lines, or a phone has no room for the returns
        customdata=list(seeds),
        orientation="h",
        boxpoints="all",
        jitter=0.6,
        pointpos=0,
        boxmean=True,
        hoveron="points",
        line={"color": color, "width": 1.5},
        fillcolor=_transparent(color),
        marker={"color": color, "size": 5, "opacity": 0.6},
        hovertemplate=f"{_text(name)}<br>return %{{x:,.1f}}"
        f"{'<br>episode seed %{customdata}' if seeds else ''}<extra></extra>",
    )


# Of each number: what it is called, what it means, and the limit that is drawn.
_SIGNS: dict[str, tuple[str, str, float | None]] = {
    "approx_kl": (
        "Approximate KL divergence",
        "How far an update moved the policy. The presets stay below 0.02, but for spikes; where it stays above the "
        f"dashed line, at {health.LARGEST_APPROX_KL:g}, steps are too large.",
        health.LARGEST_APPROX_KL,
    ),
    "entropy": (
        "Entropy",
        "How undecided the policy is. It falls while the agent learns; near 0 before the task is solved, the agent has "
        "stopped exploring. For real-valued actions it may be any number.",
        None,
    ),
    "explained_variance": (
        "Explained variance",
        "How well the critic predicts returns: 1 is perfect, and it should come near; at 0, the dashed line, it is no "
        "better than a constant. Where all returns are alike there is nothing to explain, and it means nothing.",
        health.SMALLEST_EXPLAINED_VARIANCE,
    ),
    "clip_fraction": (
        "Clip fraction",
        "Share of samples that reached the limit set by clip_coef. The presets stay below 0.2; where it stays above "
        f"the dashed line, at {health.LARGEST_CLIP_FRACTION:g}, much of an update is wasted.",
        health.LARGEST_CLIP_FRACTION,
    ),
}


def health_charts(environment: EnvironmentData) -> list[Chart]:
    """Return a small chart for each number that tells how training goes, none where there is no iteration yet."""
    return [_health_chart(environment, sign) for sign in _SIGNS if any(run.metrics for run in environment.runs)]


def _health_chart(environment: EnvironmentData, sign: str) -> Chart:
    heading, caption, limit = _SIGNS[sign]
    traces = _sign_traces(environment, sign)
    y_axis = _axis("", tickformat="~g")
    if sign == "explained_variance" and min(min(trace.y, default=0.0) for trace in traces) < -1:
        y_axis["range"] = [-1.05, 1.05]
        caption += " What lies below −1 is out of sight; a double click on the chart shows it."
    caption += _thinning_note(max(thinned(run.metrics)[1] for run in environment.runs), "iteration")
    levels = [] if limit is None else [_level(limit, "", _TARGET)]
    figure = _figure(traces, xaxis=_env_steps(""), yaxis=y_axis, shapes=levels, showlegend=len(traces) > 1)
    return Chart(caption, f"{heading} over env steps, {environment.env_id}", 260, figure, heading)


def _sign_traces(environment: EnvironmentData, sign: str) -> list[Any]:
    """Return a line a run. A colour, and an entry in the legend, stands for a config, or for a seed of the only one."""
    alone = len(environment.groups) == 1
    traces = []
    for number, group in enumerate(environment.groups):
        for seed, run in enumerate(group.runs):
            rows, _ = thinned(run.metrics)
            name, color = _text(run.label), _COLORS[(seed if alone else number) % len(_COLORS)]
            line = _line([row.env_steps for row in rows], [getattr(row, sign) for row in rows], name, color, 1.5)
            line.hovertemplate = f"{name}: %{{y:.4~g}}<br>at %{{x:,}} env steps<extra></extra>"
            if not alone:
                line.update(name=_text(group.group.label), legendgroup=str(number), showlegend=seed == 0)
            traces.append(line)
    return traces
