"""`ppocli new-env`: an environment to start from."""

from pathlib import Path
from typing import Annotated

import typer

from ppocli.cli import options


def new_env_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as my-task, which is then MyTask-v0.")],
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIRECTORY", help="New or empty; by default ./NAME.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a small environment, to be made into a task of your own.

    It is a package that works as it stands, with a config to train it and tests of its rules. Comments say what to
    change.
    """
    from ppocli.starter import start
    from ppocli.views import console

    started = start(name, directory or Path.cwd() / name)
    if as_json:
        console.as_json(started)
        return
    console.out.print(f"{started.env_id}: {len(started.files)} files in {console.short_path(started.directory)}; next:")
    console.out.print()
    console.out.print(f"cd {console.shell_path(started.directory)}")
    console.out.print("pip install -e .")
    console.out.print(f"ppocli train --config {name}.yaml")
