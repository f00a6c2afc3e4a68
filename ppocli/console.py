"""All that a person sees in a terminal: progress, warnings and errors on stderr, tables of results on stdout."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from ppocli.errors import one_line

if TYPE_CHECKING:
    from ppocli.catalog import RunSummary


class _Console(Console):
    """A console whose reader may leave: what nobody reads must not end what is at work."""

    def on_broken_pipe(self) -> None:
        """Say nothing from now on."""
        self.quiet = True
        # Python itself still flushes the stream at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


_out = _Console(highlight=False, markup=False, soft_wrap=True)
err = _Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
"""Where progress is shown."""


def info(line: str) -> None:
    """Say something about the command's progress."""
    with suppress(OSError):
        err.print(one_line(line))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say in a terminal what is being done, for as long as the block takes."""
    if err.is_terminal:
        with err.status(what):
            yield
    else:
        yield


_PHASES = {
    "start_up": "start",
    "rollout": "rollouts",
    "update": "updates",
    "evaluation": "evaluations",
    "other": "files",
}


def training_result(result: Mapping[str, Any], target: float | None) -> None:
    """Print what a training run ended with, and what to do next."""
    rows = {"run": short_path(result["run_dir"])}
    rows["trained"] = _trained(result)
    if len(result["seconds"]) == len(_PHASES):  # otherwise nothing was left to do
        rows["seconds"] = ", ".join(f"{_PHASES[phase]} {seconds:.1f}" for phase, seconds in result["seconds"].items())
    if target is None:
        rows["solved"] = "this task has no target; set train.target_return to have one"
    elif result["solved"]:
        rows["solved"] = (
            f"after {result['solved_at_env_steps']:,} env steps, {result['solved_at_seconds']:.1f} s "
            f"(greedy mean of 100 episodes ≥ {target:g})"
        )
    elif result["interrupted"]:
        rows["solved"] = f"not yet; training asks when its last 100 episodes average {target:g}"
    else:
        rows["solved"] = f"no: the greedy mean of 100 episodes is still below {target:g}"
    if result["best_return"] is not None:
        rows["best"] = f"greedy mean return {result['best_return']:.1f} (checkpoints/best.safetensors)"
    commands = [f"ppocli {command} {shell_path(result['run_dir'])}" for command in ("evaluate", "render", "report")]
    rows["next"] = f"\n{'':<9}".join(commands)
    _print_rows(rows)


def _trained(result: Mapping[str, Any]) -> str:
    steps, before = result["env_steps"], result["resumed_at_env_steps"]
    if steps == before and not result["interrupted"]:
        return f"nothing: it has its {steps:,} env steps; more with --set train.env_steps=N"
    seconds, rate = f"{result['wall_seconds']:.1f} s", f"{result['env_steps_per_second']:,.0f} env steps/s"
    if before is None:
        return f"{steps:,} env steps in {seconds}, {rate}"
    return f"{steps - before:,} env steps more in {seconds}; {steps:,} in all, {rate}"


def seeds_result(together: Mapping[str, Any]) -> None:
    """Print how several seeds of a config did, each and together."""
    table = Table()
    table.add_column("seed")
    for name in ("return ± std", "at the target", "solved after", "seconds"):
        table.add_column(name, justify="right")
    for run in together["runs"]:
        evaluation = run["evaluation"]
        table.add_row(
            str(run["seed"]),
            f"{evaluation['return_mean']:.1f} ± {evaluation['return_std']:.1f}" if evaluation else "interrupted",
            _percent("solved_fraction", evaluation) if evaluation else "-",
            f"{run['solved_at_env_steps']:,}, {run['solved_at_seconds']:.1f} s" if run["solved"] else "-",
            f"{run['wall_seconds']:.1f}",
        )
    _out.print(table)
    rows = {}
    if together["return_mean"] is not None:
        for label, key in (("mean", "return_mean"), ("IQM", "return_iqm")):
            bounds = together[f"{key}_ci95"]
            interval = f", 95 % interval over seeds {bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else ""
            rows[label] = f"{together[key]:.1f}{interval}"
    if together["solved_fraction"] is not None:
        evaluated, all_seeds = together["seeds_evaluated"], len(together["seeds"])
        of = "the seeds" if evaluated == all_seeds else f"the {evaluated} evaluated of {all_seeds}"
        rows["solved"] = f"{together['solved_fraction']:.0%} of {of}"
    if together["solved_at_seconds_median"] is not None:
        rows["solved"] += (
            f", medians: after {together['solved_at_env_steps_median']:,.0f} env steps, "
            f"{together['solved_at_seconds_median']:.1f} s"
        )
    rows["trained"] = f"in {together['wall_seconds']:.1f} s, {together['at_a_time']} at a time"
    if together["figure"]:
        rows["figure"] = short_path(together["figure"])
    rows["next"] = f"ppocli report {_in_shell([Path(run['run_dir']) for run in together['runs']])}"
    _print_rows(rows)


def _in_shell(paths: Sequence[Path]) -> str:
    """Return paths as they can be pasted into a shell, with a `*` where that means just these."""
    first, beginning = paths[0], os.path.commonprefix([path.name for path in paths])  # noqa: RUF071 - names, not paths
    if len(paths) > 1 and set(first.parent.glob(f"{beginning}*")) == set(paths):
        return f"{shell_path(first.parent / beginning)}*"
    return " ".join(map(shell_path, paths))


def _print_rows(rows: Mapping[str, str]) -> None:
    # No table: it would cut long paths, and these lines are there to be copied.
    for name, text in rows.items():
        _out.print(f"{name:<9}{text}")


def statistics(columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the statistics of evaluations side by side, a column for each."""
    table = Table()
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for label, text in _STATISTICS:
        table.add_row(label, *[text(summary) for summary in columns.values()])
    _out.print(table)


def _interval(summary: Mapping[str, Any]) -> str:
    interval = summary["return_iqm_ci95"]
    return "-" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}"


def _percent(key: str, summary: Mapping[str, Any]) -> str:
    return "-" if summary[key] is None else f"{summary[key]:.1%}"


_STATISTICS: Sequence[tuple[str, Any]] = (
    ("return, mean", lambda summary: f"{summary['return_mean']:.1f}"),
    ("standard deviation", lambda summary: f"{summary['return_std']:.1f}"),
    ("median", lambda summary: f"{summary['return_median']:.1f}"),
    ("interquartile mean", lambda summary: f"{summary['return_iqm']:.1f}"),
    ("  its 95 % interval", _interval),
    ("lowest", lambda summary: f"{summary['return_min']:.1f}"),
    ("highest", lambda summary: f"{summary['return_max']:.1f}"),
    ("length, mean env steps", lambda summary: f"{summary['length_mean']:.1f}"),
    ("episodes at the target", lambda summary: _percent("solved_fraction", summary)),
    ("ended by the task", lambda summary: _percent("terminated_fraction", summary)),
    ("cut off by time limit", lambda summary: _percent("truncated_fraction", summary)),
)


_NARROWEST_ENV, _NARROWEST_RUN = 14, 12
"""Characters that are left of environments, and at least of names, in the table of runs in a narrow terminal."""


def runs(found: Sequence["RunSummary"]) -> None:
    """Print how runs stand, a row for each."""
    header = ("env", "run", "state", "steps", "best", "solved", "when")
    rows = [
        (
            run.env_id,
            one_line(run.run_dir.name),
            run.state,
            _short_count(run.env_steps),
            "-" if run.best_return is None else f"{run.best_return:.1f}",
            "-" if run.solved is None else _short_count(run.solved_at_env_steps or 0) if run.solved else "no",
            _ago(run.started),
        )
        for run in found
    ]
    # Where it is too wide, environments are broken first; names, which are there to be copied, at last.
    env, name, *others = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    room = _out.width - sum(others) - (len(header) - 1) - min(env, _NARROWEST_ENV)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column(header[0], overflow="fold")
    table.add_column(header[1], overflow="fold", width=min(name, max(room, _NARROWEST_RUN)))
    table.add_column(header[2], overflow="fold", no_wrap=room >= _NARROWEST_RUN)
    for title in header[3:]:
        table.add_column(title, justify="right", overflow="fold", no_wrap=room >= _NARROWEST_RUN)
    for row in rows:
        table.add_row(*row)
    _out.print(table)


def _short_count(count: int) -> str:
    if count < 1_000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.1f}M"


def _ago(moment: str) -> str:
    """Return how long ago a moment was, in the largest unit that fits."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"


def result(line: str) -> None:
    """Print a line of the command's result."""
    _out.print(line)


def short_path(path: str | Path) -> str:
    """Return a path relative to the working directory where it lies below it."""
    path = Path(path)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def shell_path(path: str | Path) -> str:
    """Return `short_path` as it can be pasted into a shell."""
    return shlex.quote(short_path(path))
