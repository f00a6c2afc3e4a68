"""`--import`: what a user's own code registers, what a run knows of it, and what is never imported."""

import hashlib
import json
import re
import shlex
import shutil
import signal
from pathlib import Path

import gymnasium as gym
import psutil
import pytest

from ppocli.records.run import Run
from tests.cli.commands import strict_json
from tests.cli.test_edges import clean, run

TASK = """
import gymnasium as gym
import numpy as np


class Mine(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 1.0, self.steps == 5, False, {}


gym.register("Mine-v0", Mine)
"""
CONFIG = """
env: {id: Mine-v0, num_envs: 2}
network: {hidden_sizes: [4]}
rollout: {horizon: 16}
update: {minibatch_size: 16, update_epochs: 1}
train: {env_steps: 64, eval_episodes: 2}
"""


@pytest.fixture
def folder(tmp_path):
    """A working directory with a task of the user's own, and a config for it."""
    (tmp_path / "my_task.py").write_text(TASK)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    return tmp_path


def only_run(folder):
    (path,) = (folder / "runs" / "Mine-v0").glob("2*")
    return Run(path)


@pytest.mark.parametrize("name", [pytest.param("my_task", marks=pytest.mark.slow), "./my_task.py"])
def test_it_is_recorded_and_stands_in_every_command_that_is_printed(folder, name):
    outcome = run(folder, f"train --config mine.yaml --import {name} --quiet")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    digest = hashlib.sha256(f"my_task.py\0{hashlib.sha256(TASK.encode()).hexdigest()}".encode()).hexdigest()
    (imported,) = json.loads((only_run(folder).path / "run.json").read_text())["imports"]
    assert imported == {"name": name, "digest": digest}
    commands = re.findall(r"ppocli (.*)", outcome.stdout)
    assert [shlex.split(command)[0] for command in commands] == ["evaluate", "render", "report"]
    assert all(command.endswith(f" --import {name}") for command in commands)
    assert run(folder, f"{commands[0]} --episodes 2").returncode == 0


def test_where_it_is_missing_the_line_says_what_to_add(folder):
    assert run(folder, "train --config mine.yaml --import my_task --quiet").returncode == 0
    for command in ("evaluate latest", "train --resume latest"):
        outcome = run(folder, command)
        (line,) = clean(outcome.stderr)
        assert outcome.returncode == 2
        assert line.startswith("error: Mine-v0 is registered by what its run was trained with: add --import my_task")
    outcome = run(folder, "train --config mine.yaml")
    (line,) = clean(outcome.stderr)
    assert (outcome.returncode, "add --import MODULE" in line) == (2, True)


def test_the_folders_own_pyproject_saves_repeating_it(folder):
    project = folder / "pyproject.toml"
    project.write_text('[tool.ppocli]\nimport = ["my_task"]\n')
    assert run(folder, "train --config mine.yaml --quiet").returncode == 0
    project.write_text("[tool.ppocli]\nimport = 3\n")
    outcome = run(folder, "train --config mine.yaml")
    (line,) = clean(outcome.stderr)
    assert (outcome.returncode, line) == (
        2,
        'error: pyproject.toml: [tool.ppocli] import must be a list of modules, such as ["my_task"]',
    )
    project.write_text("this is no TOML")  # and none of ours
    assert run(folder, "runs").returncode == 0


def test_nothing_is_imported_that_stands_in_a_run_or_a_config_alone(folder):
    assert run(folder, "train --config mine.yaml --import my_task --quiet").returncode == 0
    (folder / "evil.py").write_text("open('touched', 'w')\n")
    path = only_run(folder).path / "run.json"
    info = json.loads(path.read_text())
    info |= {"imports": [{"name": "evil", "digest": "0" * 64}], "command": ["ppocli", "train", "--import", "evil"]}
    path.write_text(json.dumps(info))
    (folder / "evil.yaml").write_text("env: {id: 'evil:Mine-v0'}\n")
    for command in ("runs", "evaluate latest", "train --resume latest"):
        run(folder, command)
    assert run(folder, "train --config evil.yaml").returncode == 2
    assert not (folder / "touched").exists()


@pytest.mark.slow
def test_after_a_change_of_the_code_both_results_are_kept(folder):
    assert run(folder, "train --config mine.yaml --import my_task --quiet").returncode == 0
    evaluate = "evaluate latest --episodes 2 --import my_task --json"
    assert json.loads(run(folder, evaluate).stdout)["return_mean"] == 5
    first = only_run(folder).path / "evaluation.json"
    before = first.read_bytes()
    (folder / "my_task.py").write_text(TASK.replace("1.0", "100.0"))
    outcome = run(folder, evaluate.replace("my_task", "./my_task.py"))  # the same, however it is named
    assert json.loads(outcome.stdout)["return_mean"] == 500
    (kept,) = set(first.parent.glob("evaluation*.json")) - {first}
    (line,) = clean(outcome.stderr)
    assert line == f"warning: the task's code is another than in training: its result is kept apart, in {kept.name}"
    assert first.read_bytes() == before
    assert json.loads(kept.read_text())["return_mean"] == 500


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_torch_is_imported_leaves_no_program_of_an_environment(folder, number):
    starts = "    def __init__(self):\n        self.program = subprocess.Popen(['sleep', '1000'])\n"
    starts += "        open('pids', 'a').write(f'{self.program.pid} ')\n\n"
    ends = "\n    def close(self):\n        self.program.kill()\n        self.program.wait()\n"
    task = TASK.replace("    def reset", f"{starts}    def reset").replace("\n\ngym.reg", f"{ends}\n\ngym.reg")
    (folder / "my_task.py").write_text(f"import subprocess\n{task}")
    moment = {"site": "moment", "MOMENT": f"main import torch {number:d}"}
    outcome = run(folder, "train --config mine.yaml --import my_task --set env.workers=0", **moment)
    assert (folder / "the-moment-has-come").exists(), outcome.stderr
    assert (outcome.returncode, outcome.stdout, len(clean(outcome.stderr))) == (128 + number, "", 1)
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    assert len(pids) == 2
    assert not any(map(psutil.pid_exists, pids))


@pytest.mark.slow
def test_a_path_that_was_given_on_the_command_line_leads_to_commands_that_work(tmp_path):
    pytest.importorskip("mujoco")
    shutil.copy(Path(gym.__file__).parent / "envs" / "mujoco" / "assets" / "hopper.xml", tmp_path / "mine.xml")
    (tmp_path / "hopper.yaml").write_text(CONFIG.replace("Mine-v0", "Hopper-v5"))
    outcome = run(tmp_path, f"train --config hopper.yaml --set env.kwargs.xml_file={tmp_path}/mine.xml --quiet")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    evaluate, *_ = re.findall(r"ppocli (.*)", outcome.stdout)
    assert evaluate.endswith(" --import gymnasium")
    assert run(tmp_path, f"{evaluate} --episodes 2").returncode == 0
    outcome = run(tmp_path, "evaluate latest --episodes 2")
    (line,) = clean(outcome.stderr)
    assert outcome.returncode == 2
    assert "which may be a path" in line
    assert "--import gymnasium, if you trust who wrote it" in line


def test_a_thread_that_outlives_its_environment_prints_to_stderr_to_the_end(folder):
    chat = 'while True: os.write(1, b"still here\\n"), time.sleep(1e-4)'
    thread = f"threading.Thread(target=exec, args=({chat!r}, globals()), daemon=True).start()"
    (folder / "my_task.py").write_text(f"import os, threading, time\n{TASK}\n{thread}\n")
    outcome = run(folder, "random-baseline --config mine.yaml --episodes 2 --import my_task --json")
    assert strict_json(outcome.stdout)["return_mean"] == 5.0
    assert "still here" in outcome.stderr
