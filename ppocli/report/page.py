"""Everything about some runs as one HTML file: opens from disk, on a phone as on a desktop, and loads nothing.

What stands in it is made by the other modules as plain text, tables and charts; `page.html.j2` asks them for it and
escapes it, because names, configs and errors may come from files of strangers.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

from ppocli import __version__
from ppocli.errors import one_line
from ppocli.evaluation import curves
from ppocli.files import placing, write_atomically
from ppocli.records.catalog import common_folder
from ppocli.records.run import Run
from ppocli.report import charts, films, sentences, tables
from ppocli.report.data import EnvironmentData, gather
from ppocli.views import text


def write(runs: Sequence[Run], output: Path | None = None) -> Path:
    """Write the report of at least one run; return where it lies.

    By default that is in the run's directory, or in the folder that holds them all. Raises PpocliError where it cannot
    be written, and what `gather` raises.
    """
    if output is None:
        output = (runs[0].path if len(runs) == 1 else common_folder(runs)) / "report.html"
    content = page(gather(runs), datetime.now(UTC)).encode()
    with placing(output):
        write_atomically(output, content)
    return output


def commands(environments: Sequence[EnvironmentData]) -> list[tuple[str, str]]:
    """Return the commands that runs began with, each once, under the names of its runs.

    Those that resumed a run follow where they changed something.
    """
    found: dict[str, list[str]] = {}
    for environment in environments:
        for run in environment.runs:
            changes = [resumed.command for resumed in run.info.resumed if resumed.changed_something]
            lines = map(text.command_line, [run.info.command, *changes] if run.info.command else [])
            found.setdefault("\n".join(lines), []).append(run.name)
    return [(text.listed(names), line) for line, names in found.items()]


def machines(environments: Sequence[EnvironmentData]) -> list[tuple[str, dict[str, str]]]:
    """Return commit, machine and versions, under the names of the runs that were made so."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for environment in environments:
        for run in environment.runs:
            facts = {"git commit": run.info.git_commit or text.NOTHING, **run.info.machine, **run.info.versions}
            lines = tuple((one_line(key), one_line(value)) for key, value in facts.items())
            found.setdefault(lines, []).append(run.name)
    return [(text.listed(names), dict(lines)) for lines, names in found.items()]


def page(environments: Sequence[EnvironmentData], made: datetime) -> str:
    """Return the report as HTML."""
    loader, strict = jinja2.FileSystemLoader(Path(__file__).parent), jinja2.StrictUndefined
    templates = jinja2.Environment(
        loader=loader, undefined=strict, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["csp_hash"] = _csp_hash
    templates.globals |= {"charts": charts, "curves": curves, "films": films, "sentences": sentences, "tables": tables}
    return templates.get_template("page.html.j2").render(
        environments=environments,
        commands=commands(environments),
        machines=machines(environments),
        made=made.strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        plotly=get_plotlyjs(),
    )


def _csp_hash(script: str) -> str:
    """Return what lets a page's policy run this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
