"""The options that several commands share, and how a shell completes them."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

RUNS_DIR = Path("runs")


# What completion does not know, the shell completes as a file.
def _complete_config(incomplete: str) -> list[str]:
    from ppocli.config.load import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of runs that begin so."""
    from ppocli.records.catalog import run_names

    names = ["latest", *run_names(context.params.get("runs_dir") or RUNS_DIR)]
    # Others than ppocli gives its runs are no single word to a shell, or more than a word.
    return [name for name in names if name.startswith(incomplete) and re.fullmatch(r"[\w./-]+", name)]


_config: Any = typer.Option(
    "--config",
    metavar="FILE|PRESET",
    help="A YAML file, or the name of a preset such as lunar.",
    autocompletion=_complete_config,
)
_target: Any = typer.Argument(
    metavar="RUN|CHECKPOINT",
    help="A run's directory, the beginning of its name, latest, or a .safetensors file.",
    autocompletion=complete_run,
)
ConfigOption = Annotated[str, _config]
OptionalConfig = Annotated[str | None, _config]
TargetArgument = Annotated[str, _target]
OptionalTarget = Annotated[str | None, _target]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, for example rollout.gamma=0.99. Repeatable."),
]
RunsDirOption = Annotated[Path, typer.Option("--runs-dir", metavar="DIR", help="Where runs lie.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
EpisodesOption = Annotated[int, typer.Option("--episodes", min=1, help="How many episodes.")]
EvaluationSeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Chooses the episodes; no training run ever plays them.")
]
StochasticOption = Annotated[bool, typer.Option("--stochastic", help="Draw actions as in training.")]
RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Runs' directories, beginnings of their names, or latest.",
        autocompletion=complete_run,
    ),
]
ImportOption = Annotated[
    list[str] | None,
    typer.Option("--import", metavar="MODULE", help="A module of yours that registers environments. Repeatable."),
]
