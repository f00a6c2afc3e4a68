"""The tables of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ppocli.evaluation.curves import differing_keys, settings_of, short
from ppocli.evaluation.estimates import censored_median, iqm, iqm_interval, t_interval
from ppocli.report.data import EnvironmentData, GroupData, RunData
from ppocli.views import text


@dataclass(frozen=True)
class Table:
    """A table: what it shows, its header, its rows, and how many columns at its left are text."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    text_columns: int = 1


def group_table(environments: Sequence[EnvironmentData]) -> Table | None:
    """Return a row a config, None where there is just one."""
    header = ["environment", "config", "runs", "mean return", "95 % t interval", "random", "solved", "median steps"]
    rows = [_group_row(group) for environment in environments for group in environment.groups]
    return Table("Every config, over its seeds", header, rows, text_columns=2) if len(rows) > 1 else None


def _group_row(data: GroupData) -> list[str]:
    means, runs = data.means, data.runs
    solved = [run.summary.solved_at_env_steps for run in runs]
    least = min((run.summary.env_steps for run in runs if not run.summary.solved), default=0)
    steps = f"> {text.count(least)}" if (middle := censored_median(solved)) is None else text.count(middle)
    fewer = f" ({len(means)} of {len(runs)})" if len(means) < len(runs) else ""
    return [
        data.group.env_id,
        data.group.label or text.NOTHING,
        str(len(runs)),
        text.number(float(np.mean(means))) + fewer if means else text.NOTHING,
        text.interval(t_interval(np.array(means))),
        text.number(data.random_mean) if means else text.NOTHING,
        text.NOTHING if data.group.target is None else f"{len(solved) - solved.count(None)} of {len(runs)}",
        text.NOTHING if data.group.target is None else steps,
    ]


def run_table(environment: EnvironmentData) -> Table:
    """Return a row a run."""
    header = ["run", "state", "env steps", "return, mean ± std", "at the target", "solved after", "trained for"]
    return Table(f"Runs of {environment.env_id}", header, [_run_row(run) for run in environment.runs], text_columns=2)


def _run_row(run: RunData) -> list[str]:
    solved, resumed, target = run.info.solved, len(run.info.resumed), run.info.target_return
    returns = np.array(run.returns)
    return [
        run.label,
        run.summary.state + (f", resumed {resumed}×" if resumed else ""),
        text.count(run.summary.env_steps),
        f"{text.number(float(returns.mean()))} ± {text.number(float(returns.std()))}" if returns.size else text.NOTHING,
        f"{(returns >= target).mean():.0%}" if returns.size and target is not None else text.NOTHING,
        f"{text.count(solved.env_steps)} steps, {text.duration(solved.seconds)}" if solved else text.NOTHING,
        text.duration(run.metrics[-1].seconds) if run.metrics else text.NOTHING,
    ]


def statistics_table(environment: EnvironmentData) -> Table | None:
    """Return a row for each policy that was evaluated, None where none was."""
    agents = {run.label: run.returns for run in environment.runs if run.returns}
    header = ["policy", "episodes", "mean", "std", "IQM", "its 95 % interval", "median", "lowest", "highest"]
    rows = [_statistics_row(*policy) for policy in {**agents, **environment.random_returns}.items()]
    return Table(f"Returns of {environment.env_id}", header, rows) if rows else None


def _statistics_row(label: str, returns: Sequence[float]) -> list[str]:
    values = np.array(returns)
    numbers = [values.mean(), values.std(), iqm(values), np.median(values), values.min(), values.max()]
    texts = [text.number(float(number)) for number in numbers]
    return [label, text.count(len(values)), *texts[:3], text.interval(iqm_interval(values)), *texts[3:]]


def difference_table(environment: EnvironmentData) -> Table | None:
    """Return the keys in which the configs of an environment differ, None where there is just one config."""
    settings = [settings_of(data.runs[0].run) for data in environment.groups]
    header = ["key", *[data.group.label for data in environment.groups]]
    rows = [[key, *[short(own[key]) for own in settings]] for key in differing_keys(settings)]
    caption = f"Where the configs of {environment.env_id} differ"
    return Table(caption, header, rows, text_columns=len(header)) if rows else None
