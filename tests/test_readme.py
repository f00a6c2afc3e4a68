"""The README is held to the code: its commands exist, its files exist, its test command is the one that CI runs."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from ppocli.config.load import config_path, load_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHELL_LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line.strip()
]
# Every `ppocli …` in them, up to whatever ends a command.
PPOCLI_COMMANDS = [shlex.split(command) for line in SHELL_LINES for command in re.findall(r"\bppocli ([^#&;>]+)", line)]


def test_the_two_commands_of_the_first_screen():
    first_screen = README.splitlines()[:20]
    setup = "python3 -m venv .venv && .venv/bin/pip install -e"
    assert f"{setup} . && .venv/bin/ppocli train --config configs/lunar.yaml" in first_screen
    assert f'{setup} ".[dev]" && .venv/bin/pytest' in first_screen


def test_ci_runs_the_readmes_own_test_command():
    pattern = re.search(r"grep --max-count=1 '(.*?)' README.md", (ROOT / ".ci/run").read_text()).group(1)
    matches = [line for line in README.splitlines() if re.search(pattern, line)]
    assert matches == ['python3 -m venv .venv && .venv/bin/pip install -e ".[dev]" && .venv/bin/pytest']


@pytest.mark.parametrize("command", PPOCLI_COMMANDS, ids=" ".join)
def test_every_command_exists_with_its_options_and_presets(ppocli, command):
    help_text = ppocli(command[0], "--help").stdout
    assert help_text
    for option in (word for word in command if word.startswith("--")):
        assert f"{option} " in help_text
    for option, value in pairwise(command):
        if option == "--config" and value != "$preset":
            assert (ROOT / config_path(value)).exists()
        if option == "--set":
            load_config("lunar", [value])


def test_commands_of_every_kind_are_shown():
    assert {command[0] for command in PPOCLI_COMMANDS} == {
        *("train", "evaluate", "render", "random-baseline", "plot", "report", "runs"),
    }


def test_every_file_of_the_code_map_exists_and_none_is_missing():
    code_map = README.split("## Code map")[1].split("```")[1]
    named = set(re.findall(r"[\w/]+\.py", code_map))
    real = {path.name for path in (ROOT / "ppocli").rglob("*.py") if not path.name.startswith("__")}
    assert named == real


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https://)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"\b[A-Z]+_TABLE\b|TODO|XXX", README)
