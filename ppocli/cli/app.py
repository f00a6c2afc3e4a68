"""The program: which commands there are, and how each of them ends."""

import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from ppocli import __version__
from ppocli.cli import evaluate, show, train
from ppocli.cli.process import fail, make_streams_safe
from ppocli.errors import PpocliError

app = typer.Typer(
    name="ppocli",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train, evaluate and watch PPO agents on Gymnasium tasks.",
)
app.command("train")(train.train_command)
app.command("evaluate")(evaluate.evaluate_command)
app.command("random-baseline")(evaluate.random_baseline_command)
app.command("render")(evaluate.render_command)
app.command("runs")(show.runs_command)
app.command("plot")(show.plot_command)
app.command("report")(show.report_command)


def _show_version(show: bool) -> None:
    if show:
        print(f"ppocli {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line and exit: 0, 2 for wrong usage, 1 for other failures, 128+n on signal n."""
    try:
        make_streams_safe()
        code = app(sys.argv[1:] or ["--help"], prog_name="ppocli", standalone_mode=False)
    except PpocliError as error:
        fail(str(error), error.exit_code)
    except TyperException as error:
        fail(f"{error.format_message()} (ppocli --help and ppocli COMMAND --help list what there is)", error.exit_code)
    except KeyboardInterrupt:
        fail("interrupted", 130)
    except OSError as error:
        fail(f"{error.filename or 'files'}: {error.strerror or error}", 1)
    sys.exit(code if isinstance(code, int) else 0)
