"""`ppocli new-env`: what it writes works as it stands, and where it writes nothing it leaves nothing."""

import os
import re
import runpy
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from ppocli import starter
from ppocli.config.load import load_config
from tests.cli.commands import PATIENCE_SECONDS, error_line, strict_json
from tests.test_architecture import loaded_by
from tests.test_docs import COMMANDS, ROOT

TREE = {
    *(".gitignore", "README.md", "pyproject.toml", "little-boat.yaml"),
    *("little_boat/__init__.py", "little_boat/env.py", "tests/test_little_boat.py"),
}
CACHES = {"__pycache__", ".pytest_cache", ".ruff_cache", "runs"}


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def ran(folder, *command, **variables):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


@pytest.fixture
def boat(ppocli, tmp_path):
    """A generated folder."""
    assert ppocli("new-env", "little-boat").exit_code == 0
    return tmp_path / "little-boat"


# ----------------------------------------------------------------------------------------------------------------------
# What it writes


def test_the_tree_and_the_name_in_all_of_it(boat):
    assert tree(boat) == TREE
    text = {file: (boat / file).read_text(encoding="utf-8") for file in TREE}
    assert not re.findall("my.?task", " ".join(text.values()), re.IGNORECASE)
    project = tomllib.loads(text["pyproject.toml"])
    assert project["project"]["name"] == "little-boat"
    assert project["tool"]["flit"]["module"]["name"] == "little_boat"
    assert project["tool"]["ppocli"]["import"] == ["little_boat"]
    assert load_config(str(boat / "little-boat.yaml")).env.id == "LittleBoat-v0"
    registers = 'gym.register(\n    "LittleBoat-v0",\n    entry_point="little_boat.env:LittleBoat",'
    assert registers in text["little_boat/__init__.py"]
    assert "class LittleBoat(gym.Env)" in text["little_boat/env.py"]


def test_everything_in_the_template_is_copied():
    there = {file for file in tree(starter.template_folder()) if not CACHES & {*Path(file).parts}}
    assert there == set(starter.FILES)


def test_nothing_but_the_name_is_replaced(ppocli, tmp_path):
    """So that what is written is what linters and tests have seen."""
    assert starter.template_folder() == ROOT / "template"
    assert ppocli("new-env", "my-task").exit_code == 0
    for file in starter.FILES:
        assert (tmp_path / "my-task" / file).read_bytes() == (ROOT / "template" / file).read_bytes()


def test_it_says_what_to_do_next(boat, ppocli):
    printed = ppocli("new-env", "Other", "another one").stdout.splitlines()
    assert printed == [
        "Other-v0: 7 files in another one; next:",
        *("", "cd 'another one'", "pip install -e .", "ppocli train --config Other.yaml"),
    ]
    assert Path("another one", "Other.yaml").is_file()


def test_json(ppocli, tmp_path):
    result = strict_json(ppocli("new-env", "little-boat", "here", "--json").stdout)
    assert result.keys() == {"directory", "env_id", "files"}
    assert (result["directory"], result["env_id"]) == (str(tmp_path / "here"), "LittleBoat-v0")
    assert set(result["files"]) == {str(tmp_path / "here" / file) for file in TREE}


@pytest.mark.parametrize(
    ("name", "module", "env_id"),
    [
        ("boat", "boat", "Boat-v0"),
        ("my_boat", "my_boat", "MyBoat-v0"),
        ("MyBoat", "my_boat", "MyBoat-v0"),
        ("boat-2", "boat_2", "Boat2-v0"),
        ("XMyTask", "xmy_task", "XMyTask-v0"),
    ],
)
def test_how_names_are_spelled(name, module, env_id, ppocli, tmp_path):
    result = strict_json(ppocli("new-env", name, "--json").stdout)
    assert (result["directory"], result["env_id"]) == (str(tmp_path / name), env_id)
    assert (tmp_path / name / f"{name}.yaml").is_file()
    assert f'"{module}.env:{env_id[:-3]}"' in (tmp_path / name / module / "__init__.py").read_text()


def test_an_empty_directory_is_filled_and_stays_the_same(ppocli, tmp_path):
    (tmp_path / "here").mkdir()
    before = (tmp_path / "here").stat().st_ino
    assert ppocli("new-env", "little-boat", "here").exit_code == 0
    assert tree(tmp_path / "here") == TREE
    assert (tmp_path / "here").stat().st_ino == before


def test_so_is_the_working_directory(ppocli, tmp_path):
    printed = ppocli("new-env", "little-boat", ".").stdout
    assert "\ncd .\n" in printed
    assert tree(tmp_path) == TREE


def test_a_mere_folder_is_no_module_that_it_would_hide(ppocli, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m ppocli` has it
    (tmp_path / "boat").mkdir()
    assert ppocli("new-env", "boat").exit_code == 0


def test_its_help_and_itself_load_nothing_heavy(tmp_path):
    heavy = {"torch", "numpy", "gymnasium", "scipy", "yaml", "matplotlib"}
    text, loaded = loaded_by("new-env", "--help")
    assert "Usage: ppocli new-env" in text
    assert not loaded & {*heavy, "rich"}
    assert not loaded_by("new-env", "little-boat", str(tmp_path / "here"))[1] & heavy


# ----------------------------------------------------------------------------------------------------------------------
# What it refuses, and what it leaves behind


@pytest.mark.parametrize("name", ["2boats", "my boat", "b.py", "../boat", "a--b", "boat-", "_boat", "Böt", "a\nb", ""])
def test_names_that_no_package_can_have(name, ppocli, tmp_path):
    line = error_line(ppocli("new-env", name), 2)
    assert "letters a to z and digits" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CartPole", "new-env CartPole: Gymnasium has a CartPole itself; choose another name"),
        ("lunar-lander", "Gymnasium has a LunarLander itself"),
        ("Boat-v0", "new-env Boat-v0: write the name without -v0, which its id has from itself"),
    ],
)
def test_names_that_an_id_has_already(name, said, ppocli, tmp_path):
    assert said in error_line(ppocli("new-env", name), 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["class", "numpy", "Torch", "json", "ppocli", "tests", "runs", "dist"])
def test_names_that_mean_something_else(name, ppocli, tmp_path):
    line = error_line(ppocli("new-env", name), 2)
    assert line.startswith(f"error: new-env {name}: {name.lower()} is taken, by Python")
    assert not list(tmp_path.iterdir())


def test_a_directory_with_something_in_it(ppocli, boat):
    (boat / "little_boat" / "env.py").write_text("mine")
    line = error_line(ppocli("new-env", "little-boat"), 2)
    assert line.startswith("error: little-boat: the directory is not empty")
    assert (boat / "little_boat" / "env.py").read_text() == "mine"


def test_a_file_and_a_directory_in_none(ppocli, tmp_path):
    (tmp_path / "file").touch()
    assert "there is a file of that name" in error_line(ppocli("new-env", "boat", "file"), 2)
    assert "there is no directory nowhere to make it in" in error_line(ppocli("new-env", "boat", "nowhere/boat"), 2)
    assert tree(tmp_path) == {"file"}


@pytest.mark.parametrize("fails", ["write_text", "rename"])
@pytest.mark.parametrize("exists", [False, True])
def test_after_a_failure_nothing_is_left(fails, exists, ppocli, tmp_path, monkeypatch):
    if exists:
        (tmp_path / "boat").mkdir()
    works, calls = getattr(Path, fails), []

    def breaks_down(path, *arguments, **options):
        calls.append(path)
        if len(calls) == (3 if exists or fails == "write_text" else 1):
            raise OSError(28, "No space left on device")
        return works(path, *arguments, **options)

    monkeypatch.setattr(Path, fails, breaks_down)
    line = error_line(ppocli("new-env", "boat"), 1)
    assert line == "error: boat: cannot be written (No space left on device)"
    assert list(tmp_path.rglob("*")) == ([tmp_path / "boat"] if exists else [])


# ----------------------------------------------------------------------------------------------------------------------
# What it writes works


def test_its_own_tests_pass(boat):
    known = "check-env" in COMMANDS
    chosen = [] if known else ["--deselect", "tests/test_little_boat.py::test_ppocli_finds_nothing_wrong"]
    outcome = ran(boat, "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error", *chosen)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert re.search(r"\b1\d passed", outcome.stdout)


def test_gymnasium_finds_nothing_wrong(monkeypatch):
    """Where a warning is an error, too."""
    task = runpy.run_path(str(starter.template_folder() / "my_task" / "env.py"))["MyTask"]
    monkeypatch.setitem(gym.registry, "Template-v0", EnvSpec("Template-v0", task))
    check_env(gym.make("Template-v0", render_mode="rgb_array").unwrapped)


def test_it_is_learned(boat):
    """With its own config, and no --import."""
    outcome = ran(boat, "ppocli", "train", "--config", "little-boat.yaml", "--stop-when-solved", "--json")
    result = strict_json(outcome.stdout)
    assert (result["env_id"], result["target_return"], result["solved"]) == ("LittleBoat-v0", 150.0, True)


def test_every_command_of_its_readme_is_understood():
    text = (starter.template_folder() / "README.md").read_text()
    found = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("    ppocli ")]
    assert [command[0] for command in found] == ["train", "render"]
    for name, *arguments in found:
        COMMANDS[name].make_context(name, arguments)
    assert len(text.splitlines()) <= 12


@pytest.mark.slow
def test_from_nothing_to_a_trained_agent_by_copy_and_paste(ppocli, tmp_path):
    """In a virtual environment that has what this one has, and ppocli. It needs the network, for the build backend."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    programs = tmp_path / "venv" / "bin"
    (site,) = (tmp_path / "venv").rglob("site-packages")
    (site / "these.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    shim = "from ppocli.__main__ import main\nif __name__ == '__main__':\n    main()\n"
    (programs / "ppocli").write_text(f"#!{programs}/python\n{shim}")
    (programs / "ppocli").chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    printed = ppocli("new-env", "little-boat").stdout
    _, commands = printed.split("\n\n")
    done = subprocess.run(
        ["bash", "-exc", commands],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^solved +after", done.stdout, re.MULTILINE)
    elsewhere = subprocess.run([programs / "python", "-c", "import little_boat"], cwd=tmp_path, env=environment)
    assert elsewhere.returncode == 0
