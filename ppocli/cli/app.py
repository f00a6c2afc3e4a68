"""The program: which commands there are, and how each of them ends."""

import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from ppocli import __version__
from ppocli.cli import check, compare, evaluate, export, new, schema, show, train
from ppocli.cli.process import fail, flushed, hosting, make_streams_safe
from ppocli.errors import PpocliError
from ppocli.signals import SIGPIPE, Stopped, end_in_order, handling

app = typer.Typer(
    name="ppocli",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train, evaluate and watch PPO agents on Gymnasium tasks.",
)
for _command in (
    *(train.train_command, evaluate.evaluate_command, evaluate.random_baseline_command, evaluate.render_command),
    *(show.runs_command, show.plot_command, show.report_command, compare.compare_command),
    *(export.export_command, check.check_env_command, new.new_env_command, schema.schema_command),
):
    app.command(_command.__name__.removesuffix("_command").replace("_", "-"))(hosting(_command))


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
    make_streams_safe()
    sys.exit(flushed(_run()))


def _run() -> int:
    """Run the command line, say what went wrong, and return the exit code."""
    try:
        with handling(end_in_order):
            code = app(sys.argv[1:] or ["--help"], prog_name="ppocli", standalone_mode=False)
    except PpocliError as error:
        return fail(str(error), error.exit_code, error.frames)
    except TyperException as error:
        advice = "(ppocli --help and ppocli COMMAND --help list what there is)"
        return fail(f"{error.format_message()} {advice}", error.exit_code)
    except Stopped as stopped:
        return fail(stopped.words, 128 + stopped.signal_number)
    except OSError as error:
        return fail(f"{error.filename or 'stdout'}: {error.strerror or error}", 1)
    except SystemExit as end:  # typer's, of a completion, or when the reader of its help has left
        return 128 + SIGPIPE if end.code else 0
    return code if isinstance(code, int) else 0
