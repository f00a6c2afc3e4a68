"""What commands end with, on stdout: lines to copy, tables to read."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Table

from ppocli.errors import one_line
from ppocli.evaluation import NUM_EPISODES
from ppocli.evaluation.statistics import Statistics
from ppocli.records.catalog import RunSummary
from ppocli.records.run import Run
from ppocli.training.outcome import TrainingResult
from ppocli.training.seeds import SeedResult, SeedsResult
from ppocli.views.console import info, out, shell_path, shell_paths, short_path
from ppocli.views.text import ago, percent, short_count

_PHASES = {
    "start_up": "start",
    "rollout": "rollouts",
    "update": "updates",
    "evaluation": "evaluations",
    "other": "files",
}


def training_result(result: TrainingResult) -> None:
    """Print what a training run ended with, and what to do next."""
    rows = {"run": short_path(result.run_dir), "trained": _trained(result)}
    if len(result.seconds) == len(_PHASES):  # otherwise nothing was left to do
        rows["seconds"] = ", ".join(f"{_PHASES[phase]} {seconds:.1f}" for phase, seconds in result.seconds.items())
    rows["solved"] = _solved(result)
    if result.best_return is not None:
        rows["best"] = f"greedy mean return {result.best_return:.1f} (checkpoints/best.safetensors)"
    commands = [f"ppocli {command} {shell_path(result.run_dir)}" for command in ("evaluate", "render", "report")]
    rows["next"] = f"\n{'':<9}".join(commands)
    _print_rows(rows)


def _solved(result: TrainingResult) -> str:
    target = result.target_return
    if target is None:
        return "this task has no target; set train.target_return to have one"
    if result.solved_at_env_steps is not None:
        return (
            f"after {result.solved_at_env_steps:,} env steps, {result.solved_at_seconds:.1f} s "
            f"(greedy mean of {NUM_EPISODES} episodes ≥ {target:g})"
        )
    if result.interrupted:
        return f"not yet; training asks when its last {NUM_EPISODES} episodes average {target:g}"
    return f"no: the greedy mean of {NUM_EPISODES} episodes is still below {target:g}"


def _trained(result: TrainingResult) -> str:
    steps, before = result.env_steps, result.resumed_at_env_steps
    if steps == before and not result.interrupted:
        return f"nothing: it has its {steps:,} env steps; more with --set train.env_steps=N"
    seconds, rate = f"{result.wall_seconds:.1f} s", f"{result.env_steps_per_second:,.0f} env steps/s"
    if before is None:
        return f"{steps:,} env steps in {seconds}, {rate}"
    return f"{steps - before:,} env steps more in {seconds}; {steps:,} in all, {rate}"


def seeds_result(together: SeedsResult) -> None:
    """Print how several seeds of a config did, each and together; nothing where none has come to a result."""
    if not together.runs:
        return
    header = ["seed", "return ± std", "at the target", "solved after", "seconds"]
    out.print(_table(header, [_seed_row(run) for run in together.runs]))
    rows = {}
    for label, value, bounds in (
        ("mean", together.return_mean, together.return_mean_ci95),
        ("IQM", together.return_iqm, together.return_iqm_ci95),
    ):
        if value is not None:
            interval = f", 95 % interval over seeds {bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else ""
            rows[label] = f"{value:.1f}{interval}"
    if together.solved_fraction is not None:
        evaluated, all_seeds = together.seeds_evaluated, len(together.seeds)
        of = "the seeds" if evaluated == all_seeds else f"the {evaluated} evaluated of {all_seeds}"
        rows["solved"] = f"{together.solved_fraction:.0%} of {of}"
    if together.solved_at_env_steps_median is not None:
        rows["solved"] += (
            f", medians: after {together.solved_at_env_steps_median:,.0f} env steps, "
            f"{together.solved_at_seconds_median:.1f} s"
        )
    rows["trained"] = f"in {together.wall_seconds:.1f} s, {together.at_a_time} at a time"
    if together.figure:
        rows["figure"] = short_path(together.figure)
    rows["next"] = f"ppocli report {shell_paths([run.run_dir for run in together.runs])}"
    _print_rows(rows)


def _seed_row(run: SeedResult) -> list[str]:
    evaluation = run.evaluation
    return [
        str(run.seed),
        f"{evaluation.return_mean:.1f} ± {evaluation.return_std:.1f}" if evaluation else "interrupted",
        percent(evaluation.solved_fraction) if evaluation else "-",
        f"{run.solved_at_env_steps:,}, {run.solved_at_seconds:.1f} s" if run.solved else "-",
        f"{run.wall_seconds:.1f}",
    ]


def seeds_without_result(together: SeedsResult) -> None:
    """Say which seeds have failed, were interrupted, or have not begun."""
    failures = together.failures
    for reason in dict.fromkeys(failures.values()):
        failed = [str(seed) for seed, why in failures.items() if why == reason]
        info(f"error: seed{'s' if failed[1:] else ''} {', '.join(failed)}: {reason}")
    for run in together.runs:
        if run.interrupted:
            info(f"Interrupted. To resume: ppocli train --resume {shell_path(run.run_dir)}")
    begun = {*failures, *(run.seed for run in together.runs)}
    if not_begun := [str(seed) for seed in together.seeds if seed not in begun]:
        info(f"Not begun: --seeds {','.join(not_begun)}")


def seed_in_short(run: SeedResult) -> str:
    """Return in a few words what a seed ended with."""
    if run.evaluation is None:
        return f"interrupted after {run.env_steps:,} steps"
    solved = f", solved after {run.solved_at_env_steps:,} steps" if run.solved else ""
    return f"return {run.evaluation.return_mean:.1f}{solved}"


def statistics(columns: Mapping[str, Statistics]) -> None:
    """Print the statistics of evaluations side by side, a column for each."""
    rows = list(zip(_STATISTICS, *map(_statistics_column, columns.values()), strict=True))
    out.print(_table(["", *columns], rows))


_STATISTICS = (
    "return, mean",
    "standard deviation",
    "median",
    "interquartile mean",
    "  its 95 % interval",
    "lowest",
    "highest",
    "length, mean env steps",
    "episodes at the target",
    "ended by the task",
    "ended by time limit",
)


def _statistics_column(found: Statistics) -> list[str]:
    bounds = found.return_iqm_ci95
    return [
        f"{found.return_mean:.1f}",
        f"{found.return_std:.1f}",
        f"{found.return_median:.1f}",
        f"{found.return_iqm:.1f}",
        "-" if bounds is None else f"{bounds[0]:.1f} to {bounds[1]:.1f}",
        f"{found.return_min:.1f}",
        f"{found.return_max:.1f}",
        f"{found.length_mean:.1f}",
        percent(found.solved_fraction),
        percent(found.terminated_fraction),
        percent(found.truncated_fraction),
    ]


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table whose first column is text, and all others numbers."""
    table = Table()
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _print_rows(rows: Mapping[str, str]) -> None:
    # No table: it would cut long paths, and these lines are there to be copied.
    for name, text in rows.items():
        out.print(f"{name:<9}{text}")


_NARROWEST_ENV, _NARROWEST_RUN = 14, 12
"""Characters that are left of environments, and at least of names, in the table of runs in a narrow terminal."""


def runs_table(found: Sequence[RunSummary]) -> None:
    """Print how runs stand, a row for each."""
    header = ("env", "run", "state", "steps", "best", "solved", "when")
    rows = [
        (
            run.env_id,
            one_line(run.run_dir.name),
            run.state,
            short_count(run.env_steps),
            "-" if run.best_return is None else f"{run.best_return:.1f}",
            "-" if run.solved is None else short_count(run.solved_at_env_steps or 0) if run.solved else "no",
            ago(run.started),
        )
        for run in found
    ]
    # Where it is too wide, environments are broken first; names, which are there to be copied, at last.
    env, name, *others = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    room = out.width - sum(others) - (len(header) - 1) - min(env, _NARROWEST_ENV)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column(header[0], overflow="fold")
    table.add_column(header[1], overflow="fold", width=min(name, max(room, _NARROWEST_RUN)))
    table.add_column(header[2], overflow="fold", no_wrap=room >= _NARROWEST_RUN)
    for title in header[3:]:
        table.add_column(title, justify="right", overflow="fold", no_wrap=room >= _NARROWEST_RUN)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def left_out(repeats: Sequence[tuple[Run, Run]]) -> None:
    """Say which runs do not count, each with the one that counts in its place."""
    for run, kept in repeats:
        path = short_path(run.path)
        info(f"warning: left out: {path}: of the same config and seed as {kept.path.name}; each counts once")
