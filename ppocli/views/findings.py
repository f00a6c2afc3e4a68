"""What a check of an environment ends with, on stdout: what was found, how fast it is, a config to start from."""

from collections import Counter
from pathlib import Path

import yaml
from rich import box
from rich.table import Table

from ppocli.envs.check import Report
from ppocli.views.console import command, out, shell_path, short_path
from ppocli.views.text import count, duration, listed

_STYLES: dict[str, str] = {"error": "bold red", "warning": "yellow", "hint": ""}
_WIDEST = 120


def show(report: Report, output: Path | None) -> None:
    """Print what was found, and what of it stands in the config that was written to `output`."""
    number = Counter[str](finding.level for finding in report.findings)
    levels = [f"{number[level]} {level}{'s' if number[level] > 1 else ''}" for level in _STYLES if number[level]]
    out.print(f"{report.env_id}: {listed(levels) if levels else 'all is as it should be'}")
    if report.findings:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, width=min(out.width, _WIDEST))
        table.add_column("level", no_wrap=True)
        table.add_column("what is found", overflow="fold", ratio=3)
        table.add_column("what to change", overflow="fold", ratio=2)
        for finding in report.findings:
            table.add_row(finding.level, finding.message, finding.advice, style=_STYLES[finding.level])
        out.print(table)
    if chance := report.random_policy:
        returned = f"return {chance['return_mean']:,.1f} ± {chance['return_std']:,.1f}"
        out.print(f"chance   {count(chance['episodes'])} episodes, {returned}, {chance['length_mean']:,.1f} env steps")
    _print_speeds(report)
    if output is None:
        out.print("config   to start from; --write FILE.yaml writes it with all its defaults:")
        out.print(f"\n{_other_than_default(report)}", end="")
    else:
        out.print(f"config   {short_path(output)}")
        out.print(f"next     {command('train --config', shell_path(output))}")


def _print_speeds(report: Report) -> None:
    ways = {
        "one_process": "in one process",
        "with_workers": f"with {report.workers} worker process{'es' if report.workers > 1 else ''}",
        "vectorised": "in its own vectorised form",
    }
    for number, (way, rate) in enumerate(report.env_steps_per_second.items()):
        label = "" if number else "stepping"
        out.print(f"{label:<9}{rate:,.0f} env steps/s {ways[way]}: a million take {duration(1e6 / rate)}")


def _other_than_default(report: Report) -> str:
    changed = report.config.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)
