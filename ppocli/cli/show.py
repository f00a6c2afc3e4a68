"""`ppocli runs`, `ppocli plot` and `ppocli report`: what runs have come to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from ppocli.cli import options
from ppocli.cli.options import option
from ppocli.cli.process import importing, imports_of, require_imports
from ppocli.errors import PpocliError
from ppocli.files import check_output
from ppocli.guests import import_modules

_Axis = Literal["env-steps", "seconds"]
_Statistic = Literal["mean", "iqm"]
_State = Literal["running", "finished", "interrupted", "failed"]
_Order = Literal["started", "env", "seed", "steps", "return", "best"]


def plot_command(
    targets: options.Runs,
    output: Annotated[
        Path | None, option("--output FILE.png|.svg|.pdf", "By default a PNG, in plots/ beside the runs.")
    ] = None,
    axis: Annotated[_Axis, option("--x", "What the curves of several runs are drawn over.")] = "env-steps",
    statistic: Annotated[_Statistic, option("--statistic", "How the seeds of a config become one curve.")] = "mean",
    why: Annotated[
        bool, option("--why", "Beside it how far updates moved the policies, and how many made them worse.")
    ] = False,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    imports: options.Import = None,
    as_json: options.Json = False,
) -> None:
    """Draw learning: PNG, SVG or PDF.

    One run is drawn beside the random policy. Of several the learning curves are drawn, those of one environment and
    config, but for the seed, together, with the 95 % t interval over the seeds as a band.
    """
    with importing():
        from ppocli.evaluation.curves import WHY_LEFT_OUT, Axis, Statistic, drawable
        from ppocli.pictures import figures
        from ppocli.views import console
    runs, left_out = drawable(meant(targets, runs_dir, output, figures.FORMATS), Axis(axis))
    for run in left_out:
        console.info(f"warning: left out: {run.path}: {WHY_LEFT_OUT}")
    import_modules(imports_of(imports))
    if len(runs) == 1 and not why:
        require_imports(*runs)  # whose environment the random policy may have to play
    with console.working("Drawing"):
        output = figures.draw(runs, output, Axis(axis), Statistic(statistic), of_updates=why)
    _print_made("figure", output, as_json)


def report_command(
    targets: options.Runs,
    output: Annotated[
        Path | None, option("--output FILE.html", "By default report.html in the run, or beside the runs.")
    ] = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    imports: options.Import = None,
    as_json: options.Json = False,
) -> None:
    """Tell all about runs in one HTML file.

    It needs no network: curves, evaluation, films of episodes, health of the training, and how to make it again.
    """
    with importing():
        from ppocli.report.page import write
        from ppocli.views import console
    runs = meant(targets, runs_dir, output, [".html"])
    import_modules(imports_of(imports))
    require_imports(*runs)
    with console.working("Evaluating, filming and writing"):
        output = write(runs, output)
    _print_made("report", output, as_json)


def _print_made(what: str, path: Path, as_json: bool) -> None:
    from ppocli.views import console

    if as_json:
        console.as_json({what: path.absolute()})
    else:
        console.out.print(f"{what}: {console.short_path(path)}")


def meant(targets: list[str], runs_dir: Path, output: Path | None = None, formats: Sequence[str] = ()) -> list[Any]:
    """Return the runs that RUN... means, those of the same config and seed once, and say which are left out."""
    from ppocli.evaluation.curves import without_repeats
    from ppocli.records.catalog import find_runs
    from ppocli.views import console

    if output is not None:
        check_output(output, formats)
    runs, repeats = without_repeats(find_runs(targets, runs_dir))
    for run, kept in repeats:
        why = f"of the same config and seed as {kept.path.name}; each counts once"
        console.info(f"warning: left out: {run.path}: {why}")
    return runs


def runs_command(
    env: Annotated[str | None, option("--env ID", "Only runs of environments whose id begins so.")] = None,
    state: Annotated[_State | None, option("--state", "Only these.")] = None,
    sort: Annotated[_Order, option("--sort", "Numbers: the highest first.")] = "started",
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """List the runs: how each stands.

    Names in it, or their beginnings, are what other commands take as RUN.
    """
    from ppocli.records import catalog
    from ppocli.views import console, results

    for folder in catalog.unreadable(runs_dir):
        console.info(f"warning: left out: {folder}: permission to enter it is missing")
    found = []
    for run in catalog.all_runs(runs_dir):
        try:
            found.append(catalog.summarize_run(run))
        except PpocliError as error:
            console.info(f"warning: left out: {error}")
    begins, there_are_runs = (env or "").casefold(), bool(found)
    found = [run for run in found if run.env_id.casefold().startswith(begins) and state in (None, run.state)]
    found = catalog.sort_summaries(found, "return" if sort == "best" else sort)  # as the column was called
    if as_json:
        console.as_json({"runs": found})
    elif found:
        results.runs_table(found)
    elif there_are_runs:
        console.info(f"none of the runs under {runs_dir} is one of those asked for")
    else:
        console.info(f"no run under {runs_dir}; ppocli train makes one")
