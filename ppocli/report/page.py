"""Everything about some runs as one HTML file: opens from disk, on a phone as on a desktop, and loads nothing.

What stands in it is made by the other modules as plain text, tables and charts; `page.html.j2` says where it goes and
escapes it, because names, configs and errors may come from files of strangers.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from ppocli import __version__
from ppocli.catalog import common_folder
from ppocli.errors import PpocliError, UsageError, one_line
from ppocli.files import write_atomically
from ppocli.report import written
from ppocli.report.charts import evaluation_chart, health_charts, learning_chart
from ppocli.report.data import EnvironmentData, gather
from ppocli.report.diagnosis import diagnoses
from ppocli.report.films import videos
from ppocli.report.sentences import result_sentence, standing_sentences, title
from ppocli.report.tables import difference_table, group_table, run_table, statistics_table
from ppocli.runs import Run


def check_output(output: Path) -> None:
    """Raise UsageError unless the name is one that a report can be written to."""
    if output.suffix.lower() != ".html":
        raise UsageError(f"--output {output}: the name must end in .html")
    if output.is_dir():
        raise UsageError(f"--output {output}: this is a folder; name a file")


def write(runs: Sequence[Run], output: Path | None = None) -> Path:
    """Write the report of at least one run; return where it lies.

    By default that is in the run's directory, or in the folder that holds them all. Raises PpocliError where it cannot
    be written, and what `gather` raises.
    """
    if output is None:
        output = (runs[0].path if len(runs) == 1 else common_folder(runs)) / "report.html"
    content = page(gather(runs), datetime.now(UTC)).encode()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, content)
    except OSError as error:
        raise PpocliError(f"{output}: cannot write there ({error.strerror}); choose another --output") from error
    return output


def configs(environment: EnvironmentData) -> list[tuple[str, str]]:
    """Return each config as YAML, under its name."""
    found = []
    for data in environment.groups:
        name = f"{data.group.env_id}, {data.seeds}" + (f": {data.group.label}" if data.group.label else "")
        found.append((name, data.runs[0].run.config.to_yaml()))
    return found


def commands(environments: Sequence[EnvironmentData]) -> list[tuple[str, str]]:
    """Return the commands that runs began with, each once, under the names of its runs.

    Those that went on with a run follow where they changed something.
    """
    found: dict[str, list[str]] = {}
    for environment in environments:
        for run in environment.runs:
            changes = [resumed.command for resumed in run.facts.resumed if resumed.changed_something]
            lines = map(written.command_line, [run.facts.command, *changes] if run.facts.command else [])
            found.setdefault("\n".join(lines), []).append(run.name)
    return [(written.listed(names), line) for line, names in found.items()]


def machines(environments: Sequence[EnvironmentData]) -> list[tuple[str, dict[str, str]]]:
    """Return commit, machine and versions, under the names of the runs that were made so."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for environment in environments:
        for run in environment.runs:
            facts = {"git commit": run.facts.git_commit or written.NOTHING, **run.facts.machine, **run.facts.versions}
            lines = tuple((one_line(key), one_line(value)) for key, value in facts.items())
            found.setdefault(lines, []).append(run.name)
    return [(written.listed(names), dict(lines)) for lines, names in found.items()]


def page(environments: Sequence[EnvironmentData], made: datetime) -> str:
    """Return the report as HTML."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["csp_hash"] = _csp_hash
    return templates.get_template("page.html.j2").render(
        title=title(environments),
        sections=[_section(environment) for environment in environments],
        group_table=group_table(environments),
        commands=commands(environments),
        machines=machines(environments),
        made=made.strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        plotly=get_plotlyjs(),
    )


def _section(environment: EnvironmentData) -> dict[str, Any]:
    """Return what the page says of an environment."""
    shown, no_videos = videos(environment)
    return {
        "env_id": environment.env_id,
        "sentences": [result_sentence(group) for group in environment.groups],
        "standing": standing_sentences(environment),
        "runs": run_table(environment),
        "run_names": [(run.label, run.name) for run in environment.runs],
        "learning": learning_chart(environment),
        "evaluation": evaluation_chart(environment),
        "statistics": statistics_table(environment),
        "not_evaluated": [(run.label, run.no_evaluation) for run in environment.runs if not run.evaluation],
        "videos": shown,
        "no_videos": no_videos,
        "diagnoses": diagnoses(environment),
        "health": health_charts(environment),
        "configs": configs(environment),
        "differences": difference_table(environment),
    }


def _csp_hash(script: str) -> str:
    """Return what lets a page's policy run this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
