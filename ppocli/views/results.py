"""What commands end with, on stdout: lines to copy, tables to read."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Table

from ppocli.errors import one_line
from ppocli.evaluation import NUM_EPISODES
from ppocli.evaluation.statistics import Statistics
from ppocli.records.catalog import RunSummary
from ppocli.records.info import EARLY
from ppocli.training.outcome import TrainingResult
from ppocli.training.seeds import SeedResult, SeedsResult
from ppocli.views.console import command, info, out, shell_path, shell_paths, short_path
from ppocli.views.text import ago, percent, short_count

_WORD = {"start_up": "start", "rollout": "rollouts", "update": "updates", "evaluation": "evaluations", "other": "other"}
_NARROWEST_ENV, _NARROWEST_RUN = 14, 12  # characters of environments and names in the table of runs


def training_result(result: TrainingResult) -> None:
    """Print what a training run ended with, and what to do next."""
    rows = {"run": short_path(result.run_dir), "trained": _trained(result)}
    if len(result.seconds) > 1:  # otherwise nothing was left to do
        rows["seconds"] = ", ".join(f"{_WORD[phase]} {seconds:.1f}" for phase, seconds in result.seconds.items())
    rows["solved"] = _solved(result)
    if result.best_return is not None:
        rows["best"] = f"greedy mean return {result.best_return:.1f} (checkpoints/best.safetensors)"
    words = ["train --resume"] * result.interrupted + ["evaluate", "render", "report"]
    commands = [command(word, shell_path(result.run_dir)) for word in words]
    rows["next"] = f"\n{'':<9}".join(commands)
    _print_rows(rows)


def _solved(result: TrainingResult) -> str:
    target = result.target_return
    if target is None:
        return "this task has no target; set train.target_return to have one"
    if result.solved_at_env_steps is not None:
        when = f"after {result.solved_at_env_steps:,} env steps, {result.solved_at_seconds:.1f} s"
        return f"{when} (greedy mean of {NUM_EPISODES} episodes ≥ {target:g})"
    if result.interrupted:
        return f"not yet; training asks when its last {NUM_EPISODES} episodes average {target:g}"
    return f"no: the greedy mean of {NUM_EPISODES} episodes is still below {target:g}"


def _trained(result: TrainingResult) -> str:
    steps, before = result.env_steps, result.resumed_at_env_steps
    early = f"; ended by train.{result.ended_by}" if result.ended_by in EARLY else ""
    if steps == before and not result.interrupted:
        if early:
            return f"nothing: train.{result.ended_by} ended it; --set train.{result.ended_by}=null goes on"
        return f"nothing: it has its {steps:,} env steps; more with --set train.env_steps=N"
    seconds, rate = f"{result.wall_seconds:.1f} s", f"{result.env_steps_per_second:,.0f} env steps/s"
    if before is None:
        return f"{steps:,} env steps in {seconds}, {rate}{early}"
    return f"{steps - before:,} env steps more in {seconds}; {steps:,} in all, {rate}{early}"


def seeds_result(together: SeedsResult) -> None:
    """Print how several seeds of a config did, each and together; nothing where none has come to a result."""
    if not together.runs:
        return
    header = ["seed", "return ± std", "at the target", "solved after", "seconds"]
    failed = [[str(seed), "failed", "-", "-", "-"] for seed in together.failures]
    table(header, sorted([*map(_seed_row, together.runs), *failed], key=lambda row: int(row[0])))
    rows, evaluated, all_seeds = {}, together.seeds_evaluated, len(together.seeds)
    over = f" over {evaluated} of {all_seeds} seeds" if evaluated < all_seeds else ""
    if together.return_mean is not None:
        rows["mean"] = f"{together.return_mean:.1f}{over}{_over_seeds(together.return_mean_ci95)}"
        rows["IQM"] = f"{together.return_iqm:.1f}{over}{_over_seeds(together.return_iqm_ci95)}"
    if together.seeds_solved_fraction is not None:
        rows["solved"] = f"{sum(run.solved for run in together.runs)} of {all_seeds} seeds{_medians(together)}"
    if together.failures:
        rows["failed"] = f"{len(together.failures)} of {all_seeds} seeds: {', '.join(map(str, together.failures))}"
    rows["trained"] = f"in {together.wall_seconds:.1f} s, {together.at_a_time} at a time"
    if together.figure:
        rows["figure"] = short_path(together.figure)
    rows["next"] = command("report", shell_paths([run.run_dir for run in together.runs]))
    _print_rows(rows)


def _over_seeds(bounds: tuple[float, float] | None) -> str:
    return f", 95 % t interval over seeds {bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else ""


def _medians(together: SeedsResult) -> str:
    if (steps := together.solved_at_env_steps_median) is not None:
        return f", medians: after {steps:,.0f} env steps, {together.solved_at_seconds_median:.1f} s"
    unsolved = [(run.env_steps, run.wall_seconds) for run in together.runs if not (run.solved or together.interrupted)]
    return ", medians: after > {:,} env steps, > {:.1f} s".format(*min(unsolved)) if unsolved else ""


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
            info(f"Interrupted. To resume: {command('train --resume', shell_path(run.run_dir))}")
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
    texts = [_statistics_column(found) for found in columns.values()]
    labels = dict.fromkeys(label for column in texts for label in column)
    table(["", *columns], [[label, *(column.get(label, "-") for column in texts)] for label in labels])


def _statistics_column(found: Statistics) -> dict[str, str]:
    bounds = found.return_iqm_ci95
    return {
        "return, mean": f"{found.return_mean:.1f}",
        "standard deviation": f"{found.return_std:.1f}",
        "median": f"{found.return_median:.1f}",
        "interquartile mean": f"{found.return_iqm:.1f}",
        "  its 95 % interval": "-" if bounds is None else f"{bounds[0]:.1f} to {bounds[1]:.1f}",
        "lowest": f"{found.return_min:.1f}",
        "highest": f"{found.return_max:.1f}",
        "length, mean env steps": f"{found.length_mean:.1f}",
        "episodes at the target": percent(found.solved_fraction),
        "ended by the task": percent(found.terminated_fraction),
        "ended by time limit": percent(found.truncated_fraction),
        **{f"{one_line(key)}, mean": f"{mean:.3g}" for key, mean in found.info_means.items()},
    }


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column is text, and all others numbers."""
    table = Table()
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _print_rows(rows: Mapping[str, str]) -> None:
    # No table: it would cut long paths, and these lines are there to be copied.
    for name, text in rows.items():
        out.print(f"{name:<9}{text}")


def runs_table(found: Sequence[RunSummary]) -> None:
    """Print how runs stand, a row for each."""
    header, rows = ("env", "run", "state", "steps", "return", "solved", "when"), [_run_row(run) for run in found]
    # Where it is too wide, environments are broken first; names, which are there to be copied, at last.
    env, name, *others = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    room = out.width - sum(others) - (len(header) - 1) - min(env, _NARROWEST_ENV)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column(header[0], overflow="fold")
    table.add_column(header[1], overflow="fold", width=min(name, max(room, _NARROWEST_RUN)))
    whole = room >= _NARROWEST_RUN
    for title in header[2:]:
        table.add_column(title, justify="left" if title == "state" else "right", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*row)
    out.print(table)
    for run in found:
        if run.begun_from is not None:
            out.print(f"{one_line(run.run_dir.name)} began with the agent of {one_line(run.begun_from)}")
    if any(run.evaluated_return is None and run.best_return is not None for run in found):
        out.print("~ best evaluation in training, which favours long runs; ppocli evaluate measures")


def _run_row(run: RunSummary) -> list[str]:
    return [
        run.env_id,
        one_line(run.run_dir.name),
        run.state,
        short_count(run.env_steps),
        "-" if run.shown_return is None else f"{'~' if run.evaluated_return is None else ''}{run.shown_return:.1f}",
        "-" if run.solved is None else short_count(run.solved_at_env_steps or 0) if run.solved else "no",
        ago(run.started),
    ]
