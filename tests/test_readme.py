"""The README's first screen, its outputs, its walk-through, and its length."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from ppocli.config.load import preset_names
from ppocli.evaluation.statistics import Statistics
from ppocli.views import results
from tests.cli.commands import PATIENCE_SECONDS
from tests.test_docs import ROOT, shell_lines

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language, text):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for its_language, block in found if its_language == language]


def test_the_two_commands_of_the_first_screen():
    first_screen = README.splitlines()[:20]
    setup = "python3 -m venv .venv && .venv/bin/pip install -e"
    assert f"{setup} . && .venv/bin/ppocli train --config configs/lunar.yaml" in first_screen
    assert f'{setup} ".[dev]" && .venv/bin/pytest' in first_screen


def test_ci_runs_the_readmes_own_test_command():
    pattern = re.search(r"grep --max-count=1 '(.*?)' README.md", (ROOT / ".ci/run").read_text()).group(1)
    matches = [line for line in README.splitlines() if re.search(pattern, line)]
    assert matches == ['python3 -m venv .venv && .venv/bin/pip install -e ".[dev]" && .venv/bin/pytest']


def test_it_is_short():
    assert len(README.splitlines()) <= 230


def test_it_names_every_preset():
    assert [name for name in preset_names() if f"`{name}`" not in README] == []


def test_an_evaluation_looks_as_it_shows(monkeypatch, capsys):
    """The same numbers come out as the same table."""
    (shown,) = [block for block in blocks("", README) if "random policy" in block]
    header, *rows = [re.split(r" *[┃│] *", line[1:-1].strip()) for line in shown.splitlines() if line[0] in "┃│"]
    labels, *columns = zip(*rows, strict=True)
    monkeypatch.setattr(results, "out", Console(file=sys.stdout, width=80, highlight=False, markup=False))
    columns = [dict(zip(labels, column, strict=True)) for column in columns]
    print(shown.splitlines()[0])
    results.statistics({name: statistics(column) for name, column in zip(header[-2:], columns, strict=True)})
    assert capsys.readouterr().out == shown


def statistics(column):
    def share(text):
        return float(text.removesuffix("%")) / 100

    return Statistics(
        env_id="CartPole-v1",
        episodes=100,
        seed=0,
        deterministic=True,
        target_return=475.0,
        return_mean=float(column["return, mean"]),
        return_std=float(column["standard deviation"]),
        return_median=float(column["median"]),
        return_iqm=float(column["interquartile mean"]),
        return_iqm_ci95=tuple(map(float, column["its 95 % interval"].split(" to "))),
        return_min=float(column["lowest"]),
        return_max=float(column["highest"]),
        length_mean=float(column["length, mean env steps"]),
        solved_fraction=share(column["episodes at the target"]),
        terminated_fraction=share(column["ended by the task"]),
        truncated_fraction=share(column["ended by time limit"]),
        info_means={},
    )


def test_the_walk_through_works(tmp_path):
    """Its files by copy and paste, and its commands, but for a shorter training."""
    section = README.partition("## A task of your own\n")[2].partition("\n## ")[0]
    for language, name in (("python", "my_task.py"), ("yaml", "my_task.yaml")):
        assert f"`{name}`" in section
        (block,) = blocks(language, section)
        (tmp_path / name).write_text(block, encoding="utf-8")
    commands = list(shell_lines(section))
    assert [shlex.split(command)[1] for command in commands] == ["train", "evaluate", "render"]
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "ppocli"
        shorter = ["--set", "train.env_steps=4096"] if arguments[0] == "train" else []
        done = subprocess.run(
            [sys.executable, "-m", "ppocli", *arguments, *shorter],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
    assert Path(tmp_path, "catch.gif").stat().st_size > 0
