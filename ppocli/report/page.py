"""Everything about some runs as one HTML file: opens from disk, on a phone as on a desktop, and loads nothing.

What stands in it is made by the other modules as plain text, tables and charts; `page.html.j2` says where it goes and
escapes it, because names, configs and errors may come from files of strangers.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

from ppocli import __version__
from ppocli.errors import one_line
from ppocli.files import placing, write_atomically
from ppocli.records.catalog import common_folder
from ppocli.records.run import Run
from ppocli.report.charts import Chart, evaluation_chart, health_charts, learning_chart
from ppocli.report.data import EnvironmentData, gather
from ppocli.report.films import Video, videos
from ppocli.report.sentences import diagnoses, result_sentence, standing_sentences, title
from ppocli.report.tables import Table, difference_table, group_table, run_table, statistics_table
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


@dataclass(frozen=True)
class Section:
    """What the page says of an environment."""

    env_id: str
    sentences: list[str]
    standing: list[str]
    runs: Table
    run_names: list[tuple[str, str]]
    learning: Chart | None
    evaluation: Chart | None
    statistics: Table | None
    not_evaluated: list[tuple[str, str]]
    videos: list[Video]
    no_videos: str
    diagnoses: list[tuple[str, list[str]]]
    health: list[Chart]
    configs: list[tuple[str, str]]
    differences: Table | None


def _section(environment: EnvironmentData) -> Section:
    shown, no_videos = videos(environment)
    return Section(
        env_id=environment.env_id,
        sentences=[result_sentence(group) for group in environment.groups],
        standing=standing_sentences(environment),
        runs=run_table(environment),
        run_names=[(run.label, run.name) for run in environment.runs],
        learning=learning_chart(environment),
        evaluation=evaluation_chart(environment),
        statistics=statistics_table(environment),
        not_evaluated=[(run.label, run.no_evaluation) for run in environment.runs if not run.evaluation],
        videos=shown,
        no_videos=no_videos,
        diagnoses=diagnoses(environment),
        health=health_charts(environment),
        configs=configs(environment),
        differences=difference_table(environment),
    )


def _csp_hash(script: str) -> str:
    """Return what lets a page's policy run this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
