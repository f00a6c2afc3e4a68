"""`ppocli check-env`: is an environment right to train in?"""

from pathlib import Path
from typing import Annotated, Any

import typer

from ppocli.cli import options
from ppocli.cli.options import option
from ppocli.cli.process import importing, imports_of, what_is_printed
from ppocli.errors import UsageError
from ppocli.files import write_atomically
from ppocli.guests import import_modules


def check_env_command(
    env_id: Annotated[str | None, typer.Argument(metavar="ID", help="A Gymnasium id, such as LunarLander-v3.")] = None,
    config: options.OptionalConfig = None,
    overrides: options.Set = None,
    output: Annotated[
        Path | None, option("--write FILE.yaml", "Write a whole config to start from, as what was found has it.")
    ] = None,
    imports: options.Import = None,
    as_json: options.Json = False,
) -> None:
    """Find out whether an environment is right to train in.

    Each finding comes with what to change; with any error, by which training would fail or learn the wrong thing, the
    exit code is 1. It takes some ten seconds.
    """
    if (env_id is None) == (config is None):
        raise UsageError("check-env takes the ID of an environment, or else --config FILE|PRESET")
    if output is not None:
        _check_new(output)
    with importing():
        from ppocli.config.load import default_config, load_config, preset_names
        from ppocli.envs.check import check
        from ppocli.views import console, findings
    if env_id and (env_id in preset_names() or env_id.endswith((".yaml", ".yml"))):
        raise UsageError(f"check-env {env_id}: that is a config; write --config {env_id}")
    if env_id and env_id.endswith(".py"):
        raise UsageError(f"check-env {env_id}: that is a file; write check-env ID --import {env_id}")
    settings = load_config(config, overrides or ()) if config else default_config(env_id or "", overrides or ())
    import_modules(imports_of(imports))
    with console.working(f"Checking {settings.env.id}"), what_is_printed() as printed:
        report = check(settings, printed=printed)
    if output is not None:
        write_atomically(output, report.config.to_yaml().encode())
    if as_json:
        console.as_json(_as_json(report, output))
    else:
        findings.show(report, output)
    if not report.is_fit:
        raise typer.Exit(1)


def _check_new(output: Path) -> None:
    """Raise UsageError unless this is the name of a config that there is not yet."""
    if output.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--write {output.name}: the name must end in .yaml")
    if output.exists():
        raise UsageError(f"--write {output.name}: it is there already; choose another name")
    if not output.parent.is_dir():
        raise UsageError(f"--write {output.name}: there is no folder {output.parent.name}")


def _as_json(report: Any, output: Path | None) -> dict[str, Any]:
    keys = ("level", "check", "message", "advice")
    return {
        "env_id": report.env_id,
        "findings": [{key: getattr(finding, key) for key in keys} for finding in report.findings],
        "random_policy": report.random_policy,
        "env_steps_per_second": report.env_steps_per_second,
        "seconds_per_million_env_steps": {way: 1e6 / rate for way, rate in report.env_steps_per_second.items()},
        "workers": report.workers,
        "config": report.config.as_written(),
        "written": output,
    }
