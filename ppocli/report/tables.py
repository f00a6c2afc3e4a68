"""The tables of a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from ppocli.curves import IRRELEVANT
from ppocli.estimates import iqm, mean
from ppocli.report import written
from ppocli.report.data import EnvironmentData, GroupData, RunData


@dataclass(frozen=True)
class Table:
    """A table: what it shows, its header, its rows, and how many columns at its left are text."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    text_columns: int = 1


def group_table(environments: Sequence[EnvironmentData]) -> Table | None:
    """Return a row a config, None where there is just one."""
    found = [group for environment in environments for group in environment.groups]
    columns = [
        "environment",
        "config",
        "runs",
        "mean return",
        "95 % interval",
        "random policy",
        "solved",
        "after steps",
    ]
    if len(found) == 1:
        return None
    return Table("Every config, over its seeds", columns, [_group_row(data) for data in found], text_columns=2)


def _group_row(data: GroupData) -> list[str]:
    means, runs = data.means, data.runs
    solved = [run.facts.solved.env_steps for run in runs if run.facts.solved]
    return [
        data.group.env_id,
        data.group.label or written.NOTHING,
        str(len(runs)),
        written.number(float(np.mean(means))) if means else written.NOTHING,
        written.interval_of(means, mean) if means else written.NOTHING,
        written.number(data.random_mean) if means else written.NOTHING,
        written.NOTHING if data.group.target is None else f"{len(solved)} of {len(runs)}",
        written.count(median(solved)) if solved else written.NOTHING,
    ]


def run_table(environment: EnvironmentData) -> Table:
    """Return a row a run."""
    columns = ["run", "state", "env steps", "return, mean ± std", "at the target", "solved after", "trained for"]
    return Table(f"Runs of {environment.env_id}", columns, [_run_row(run) for run in environment.runs], text_columns=2)


def _run_row(run: RunData) -> list[str]:
    solved, resumed, target = run.facts.solved, len(run.facts.resumed), run.facts.target_return
    returns = np.array(run.returns)
    return [
        run.label,
        run.summary.state + (f", resumed {resumed}×" if resumed else ""),
        written.count(run.summary.env_steps),
        f"{written.number(float(returns.mean()))} ± {written.number(float(returns.std()))}"
        if returns.size
        else written.NOTHING,
        f"{(returns >= target).mean():.0%}" if returns.size and target is not None else written.NOTHING,
        f"{written.count(solved.env_steps)} steps, {written.duration(solved.seconds)}" if solved else written.NOTHING,
        written.duration(run.metrics[-1].seconds) if run.metrics else written.NOTHING,
    ]


def statistics_table(environment: EnvironmentData) -> Table | None:
    """Return a row for each policy that was evaluated, None where none was."""
    agents = {run.label: run.returns for run in environment.runs if run.returns}
    columns = ["policy", "episodes", "mean", "std", "IQM", "its 95 % interval", "median", "lowest", "highest"]
    rows = [_statistics_row(*policy) for policy in {**agents, **environment.random_returns}.items()]
    return Table(f"Returns of {environment.env_id}", columns, rows) if rows else None


def _statistics_row(label: str, returns: Sequence[float]) -> list[str]:
    values = np.array(returns)
    numbers = [values.mean(), values.std(), iqm(values), np.median(values), values.min(), values.max()]
    texts = [written.number(float(number)) for number in numbers]
    return [label, written.count(len(values)), *texts[:3], written.interval_of(returns, iqm), *texts[3:]]


def difference_table(environment: EnvironmentData) -> Table | None:
    """Return the keys in which the configs of an environment differ, None where there is just one config."""
    leaves = [data.runs[0].run.config.leaves() for data in environment.groups]
    relevant = [key for key in leaves[0] if key not in IRRELEVANT]
    differing = [key for key in relevant if any(own[key] != leaves[0][key] for own in leaves)]
    columns = ["key", *[data.seeds for data in environment.groups]]
    rows = [[key, *[_value(own[key]) for own in leaves]] for key in differing]
    return Table(f"Where the configs of {environment.env_id} differ", columns, rows) if rows else None


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items()) or written.NOTHING
    return written.NOTHING if value is None else str(value)
