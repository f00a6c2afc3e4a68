"""`ppocli check-env` as people and scripts use it."""

import re
import subprocess
import sys

import gymnasium as gym
import pytest
import yaml

from ppocli.config.load import load_config
from ppocli.envs import check
from ppocli.envs.checks.trial import Budget
from tests.cli.commands import PATIENCE_SECONDS, error_line, strict_json
from tests.cli.test_imports import TASK
from tests.environments import Counting
from tests.test_docs import ROOT, shell_lines
from tests.test_readme import blocks


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(check, "Budget", lambda: Budget(seconds=60.0, env_steps=1_000))


def test_it_prints_what_is_found_how_fast_it_is_and_a_config(ppocli):
    outcome = ppocli("check-env", "Counting-v0", "--set", "env.num_envs=4")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    first, header, _, *rest = outcome.stdout.splitlines()
    assert re.fullmatch(r"Counting-v0: \d+ hints", first)
    assert header.split() == ["level", "what", "is", "found", "what", "to", "change"]
    assert all(len(line) <= 80 for line in outcome.stdout.splitlines())
    text = " ".join(" ".join(rest).split())
    assert "hint no time limit" in text
    assert re.search(r"chance +\d+ episodes, return 6.0 ± 0.0, 3.0 env steps", text)
    assert re.search(r"stepping +[\d,]+ env steps/s in one process: .* [\d,]+ env steps/s with 1 worker process:", text)
    assert yaml.safe_load(outcome.stdout.partition("defaults:\n")[2]) == {"env": {"id": "Counting-v0", "num_envs": 4}}


def test_as_json_it_is_one_object_whatever_is_printed(ppocli, tmp_path):
    (tmp_path / "talks.py").write_text(TASK.replace("self.steps += 1", "self.steps += 1; print('stepped')"))
    done = subprocess.run(
        [sys.executable, "-m", "ppocli", "check-env", "Mine-v0", "--import", "talks.py", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    result = strict_json(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert result["env_id"] == "Mine-v0"
    assert all(set(found) == {"level", "check", "message", "advice"} for found in result["findings"])
    (prints,) = [found for found in result["findings"] if found["check"] == "prints"]
    assert re.match(r"it has printed [\d,]+ lines, such as 'stepped'", prints["message"])
    assert prints["level"] == "warning"
    assert result["env_steps_per_second"].keys() == {"one_process", "with_workers"}
    million = {way: 1e6 / rate for way, rate in result["env_steps_per_second"].items()}
    assert result["seconds_per_million_env_steps"] == pytest.approx(million)
    assert (result["random_policy"]["return_mean"], result["random_policy"]["length_mean"]) == (5, 5)
    assert result["config"]["env"]["id"] == "Mine-v0"


def test_a_file_is_no_id(ppocli):
    line = error_line(ppocli("check-env", "mine.py"), 2)
    assert line == "error: check-env mine.py: that is a file; write check-env ID --import mine.py"
    assert error_line(ppocli("check-env", "Counting-v0", "--set", "env.nmu_envs=3"), 2).startswith("error: --set: env.")
    line = error_line(ppocli("check-env", "MiniGrid-Nothing-v0"), 2)
    assert "pip install minigrid brings it" in line or "doesn't exist" in line


def test_with_an_error_the_exit_code_is_1(ppocli):
    outcome = ppocli("check-env", "Broken-v0", "--set", "env.kwargs.how=reward", "--json")
    assert outcome.exit_code == 1
    errors = [found["message"] for found in strict_json(outcome.stdout)["findings"] if found["level"] == "error"]
    assert len(errors) == 1
    assert "its reward in step 2 of the episode" in errors[0]


def test_what_it_writes_can_be_trained_with_and_has_what_was_found(ppocli, tmp_path):
    gym.register("Endless-v0", Counting, kwargs={"length": 10**9})
    outcome = ppocli("check-env", "Endless-v0", "--set", "env.num_envs=2", "--write", "mine.yaml")
    assert outcome.exit_code == 0
    assert "config   mine.yaml\nnext     ppocli train --config mine.yaml\n" in outcome.stdout
    written = load_config(str(tmp_path / "mine.yaml"))
    assert (written.env.num_envs, written.env.max_episode_steps) == (2, 1000)
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text()) == written.as_written()
    before = (tmp_path / "mine.yaml").read_bytes()
    line = error_line(ppocli("check-env", "Endless-v0", "--write", "mine.yaml"), 2)
    assert line == "error: --write mine.yaml: it is there already; choose another name"
    assert (tmp_path / "mine.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "takes the ID of an environment, or else --config"),
        (("CartPole-v1", "--config", "cartpole"), "takes the ID of an environment, or else --config"),
        (("Nothing-v0",), "'Nothing-v0' is not an environment of this Gymnasium"),
        (("lunar",), "check-env lunar: that is a config; write --config lunar"),
        (("mine.yaml",), "check-env mine.yaml: that is a config; write --config mine.yaml"),
        (("CartPole-v1", "--set", "env.speed=3"), "env.speed: unknown key"),
        (("CartPole-v1", "--write", "mine.json"), "--write mine.json: the name must end in .yaml"),
        (("CartPole-v1", "--write", "no/mine.yaml"), "--write mine.yaml: there is no folder no"),
    ],
)
def test_wrong_usage_is_one_line(ppocli, arguments, words):
    assert words in error_line(ppocli("check-env", *arguments), 2)


def test_a_preset_is_checked_with_what_it_sets(ppocli):
    outcome = ppocli("check-env", "--config", "cartpole", "--set", "env.max_episode_steps=50", "--json")
    result = strict_json(outcome.stdout)
    assert outcome.exit_code == 0
    assert result["config"]["env"]["max_episode_steps"] == 50
    assert result["config"]["train"]["env_steps"] == load_config("cartpole").train.env_steps
    assert result["random_policy"]["length_mean"] < 50


def cells(table):
    """Return the level, what is found and what to change of each row of a table, without its numbers."""
    _, header, _, *lines = table.partition("\nstepping")[0].splitlines()
    columns = [header.index(name) for name in ("level", "what is found", "what to change")]
    cut = [[line[slice(*ends)].strip() for ends in zip(columns, [*columns[1:], None], strict=True)] for line in lines]
    begin = [number for number, (level, *_) in enumerate(cut) if level]
    rows = [zip(*cut[slice(*ends)], strict=True) for ends in zip(begin, [*begin[1:], None], strict=True)]
    return [re.sub(r"[\d.,]+(e[+]\d+)?", "#", "\n".join(" ".join(cell).strip() for cell in row)) for row in rows]


def test_an_example_looks_as_the_page_shows(tmp_path):
    page = (ROOT / "docs" / "own-task.md").read_text(encoding="utf-8")
    (code,), (shown,) = blocks("python", page), blocks("", page)
    (tmp_path / "hover.py").write_text(code, encoding="utf-8")
    command = next(shell_lines(page)).split()[1:]
    done = subprocess.run(
        [sys.executable, "-m", "ppocli", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert cells(done.stdout) == cells(shown)
    assert done.stdout.partition("\nconfig")[2] == shown.partition("\nconfig")[2]
