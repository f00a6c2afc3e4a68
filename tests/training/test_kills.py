"""Real processes killed at random moments, as often as it takes: minutes of work, so only with `-m slow`."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import examples.catch
from ppocli.config.load import load_config
from ppocli.records import checkpoint
from ppocli.records.run import Run
from tests.endings import assert_same_ending
from tests.jobs import train

KILLS = 50
EXAMPLES = Path(examples.catch.__file__).parent
TASKS = {
    "cartpole": ("train.env_steps=49_000", "train.checkpoint_interval=2048"),
    "lunar_fast": (
        "train.env_steps=30_000",
        "train.checkpoint_interval=2048",
        "train.eval_interval=10_000",
        "train.eval_episodes=5",
    ),
    "mountain_car_continuous": (
        "train.env_steps=40_000",
        "train.checkpoint_interval=4096",
        "train.eval_interval=10_000",
        "train.eval_episodes=5",
    ),
    "cartpole_no_velocity": ("train.env_steps=25_000", "train.checkpoint_interval=2048"),
    # what is seen, and remembered
    f"{EXAMPLES}/catch.yaml": (
        "network.memory={size: 32}",
        "update.minibatch_size=512",
        "train.env_steps=16_000",
        "train.checkpoint_interval=2048",
        "train.eval_interval=8_000",
        "train.snapshots=0",
    ),
}
IMPORTS = {f"{EXAMPLES}/catch.yaml": ["--import", f"{EXAMPLES}/catch.py"]}


def command(*arguments):
    return [sys.executable, "-m", "ppocli", "train", *arguments, "--json"]


def killed_after(seconds, arguments, folder):
    """Run the command, and kill it after so many seconds; return whether it was still at work."""
    process = subprocess.Popen(
        command(*arguments), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    assert process.returncode == 0, errors
    return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("task", TASKS, ids=lambda task: Path(task).stem)
def test_killed_50_times_it_ends_like_one_that_never_was(task, tmp_path):
    rng = random.Random(task)
    sets = [argument for override in TASKS[task] for argument in ("--set", override)]
    started = time.monotonic()
    expected = Run(tmp_path / "whole")
    list(train(load_config(task, TASKS[task]), expected))
    longest = time.monotonic() - started + 3  # the imports of the command, too
    kills, runs = 0, 0
    while kills < KILLS:
        runs += 1
        folder = tmp_path / str(runs)
        folder.mkdir()
        arguments = ["--config", task, *IMPORTS.get(task, []), *sets]
        while killed_after(rng.uniform(0, longest), arguments, folder):
            kills += 1
            for path in folder.rglob("*.safetensors"):
                if path.name[0] != ".":  # one that a kill cut short never gets its name
                    checkpoint.load(path)
            begun = [path.parent for path in folder.rglob("run.json")]
            arguments = ["--resume", str(begun[0]), *IMPORTS.get(task, [])] if begun else arguments
        (run,) = [path.parent for path in folder.rglob("run.json")]
        assert_same_ending(Run(run), expected)
        assert not list(run.rglob("*.tmp"))
    print(f"{task}: {kills} kills over {runs} runs")
