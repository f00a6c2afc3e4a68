"""The options that several commands share, and how a shell completes them."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

RUNS_DIR = Path("runs")


# What completion does not know, the shell completes as a file.
def _presets(incomplete: str) -> list[str]:
    from ppocli.config.load import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of runs that begin so."""
    from ppocli.records.catalog import run_names

    names = ["latest", *run_names(context.params.get("runs_dir") or RUNS_DIR)]
    # Others than ppocli gives its runs are no single word to a shell, or more than a word.
    return [name for name in names if name.startswith(incomplete) and re.fullmatch(r"[\w./-]+", name)]


def option(usage: str, text: str, **more: Any) -> Any:
    """Return an option from its usage, such as `--set KEY=VALUE`, and its help."""
    name, _, metavar = usage.partition(" ")
    return typer.Option(name, metavar=metavar or None, help=text, **more)


_Texts = list[str] | None
_config = option("--config FILE|PRESET", "A YAML file, or the name of a preset such as lunar.", autocompletion=_presets)
_run = "A run's directory, the beginning of its name, latest, or a .safetensors file."
_target: Any = typer.Argument(metavar="RUN|CHECKPOINT", help=_run, autocompletion=complete_run)
_runs = "Runs' directories, beginnings of their names, or latest."
Config = Annotated[str, _config]
OptionalConfig = Annotated[str | None, _config]
Target = Annotated[str, _target]
OptionalTarget = Annotated[str | None, _target]
Runs = Annotated[list[str], typer.Argument(metavar="RUN", help=_runs, autocompletion=complete_run)]
Set = Annotated[_Texts, option("--set KEY=VALUE", "Override a key, for example rollout.gamma=0.99. Repeatable.")]
RunsDir = Annotated[Path, option("--runs-dir DIR", "Where runs lie.")]
Json = Annotated[bool, option("--json", "Print exactly one JSON object on stdout.")]
Episodes = Annotated[int, option("--episodes N", "How many episodes.", min=1)]
EpisodesSeed = Annotated[int, option("--seed N", "Chooses the episodes; no training run ever plays them.", min=0)]
Stochastic = Annotated[bool, option("--stochastic", "Draw actions as in training.")]
Import = Annotated[_Texts, option("--import MODULE|FILE", "A module of yours that registers environments. Repeatable.")]
