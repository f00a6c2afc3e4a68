"""`ppocli runs`, `ppocli plot` and `ppocli report`: what runs have come to."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ppocli.cli.options import RUNS_DIR, ImportOption, JsonOption, RunsArgument, RunsDirOption
from ppocli.cli.process import import_modules, importing, print_json
from ppocli.errors import PpocliError


def plot_command(
    targets: RunsArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.png|.svg|.pdf", help="By default a PNG, in plots/ beside the runs."),
    ] = None,
    axis: Annotated[
        Literal["env-steps", "seconds"], typer.Option("--x", help="What the curves of several runs are drawn over.")
    ] = "env-steps",
    statistic: Annotated[
        Literal["mean", "iqm"], typer.Option("--statistic", help="How the seeds of a config become one curve.")
    ] = "mean",
    runs_dir: RunsDirOption = RUNS_DIR,
    imports: ImportOption = None,
) -> None:
    """Draw learning: PNG, SVG or PDF.

    One run is drawn beside the random policy. Of several the learning curves are drawn, those of one environment and
    config, but for the seed, together, with a 95 % bootstrap band.
    """
    import_modules(imports)
    from ppocli.views import console

    with console.working("Starting"), importing():
        from ppocli.evaluation.curves import Axis, Statistic, without_repeats
        from ppocli.files import check_output
        from ppocli.pictures import figures
        from ppocli.records.catalog import find_runs
        from ppocli.views.results import left_out

    if output is not None:
        check_output(output, figures.FORMATS)
    runs, repeats = without_repeats(find_runs(targets, runs_dir))
    left_out(repeats)
    with console.working("Drawing"):
        output = figures.draw(runs, output, Axis(axis), Statistic(statistic))
    console.result(f"figure: {console.short_path(output)}")


def report_command(
    targets: RunsArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.html", help="By default report.html in the run, or beside the runs."),
    ] = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    imports: ImportOption = None,
) -> None:
    """Tell all about runs in one HTML file.

    It needs no network: curves, evaluation, films of episodes, health of the training, and how to make it again.
    """
    import_modules(imports)
    from ppocli.views import console

    with console.working("Starting"), importing():
        from ppocli.evaluation.curves import without_repeats
        from ppocli.files import check_output
        from ppocli.records.catalog import find_runs
        from ppocli.report.page import write
        from ppocli.views.results import left_out

    if output is not None:
        check_output(output, [".html"])
    runs, repeats = without_repeats(find_runs(targets, runs_dir))
    left_out(repeats)
    with console.working("Evaluating, filming and writing"):
        output = write(runs, output)
    console.result(f"report: {console.short_path(output)}")


def runs_command(
    env: Annotated[
        str | None, typer.Option("--env", metavar="TEXT", help="Only runs of environments whose id begins so.")
    ] = None,
    state: Annotated[
        Literal["running", "finished", "interrupted", "failed"] | None, typer.Option("--state", help="Only these.")
    ] = None,
    sort: Annotated[
        Literal["started", "env", "seed", "steps", "return"], typer.Option("--sort", help="Numbers: the highest first.")
    ] = "started",
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
) -> None:
    """List the runs: how each stands.

    Names in it, or their beginnings, are what other commands take as RUN.
    """
    from ppocli.records.catalog import all_runs, sort_summaries, summarize_run
    from ppocli.views import console
    from ppocli.views.results import runs_table

    found = []
    for run in all_runs(runs_dir):
        try:
            found.append(summarize_run(run))
        except PpocliError as error:
            console.info(f"warning: left out: {error}")
    found = [run for run in found if run.env_id.startswith(env or "") and state in (None, run.state)]
    found = sort_summaries(found, sort)
    if as_json:
        print_json({"runs": found})
    elif found:
        runs_table(found)
    else:
        console.info(f"no such run under {runs_dir}; ppocli train makes one")
