"""Signals to whole commands, at moments that are known: nothing here waits for a time to pass."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import PATIENCE_SECONDS, patience, strict_json

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

ENDLESS = ("--config", "cartpole", "--set", "train.env_steps=1e9", "--set", "train.eval_interval=1e9")


def start(folder, *options, **variables):
    """Start a training that never ends by itself, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "ppocli", "train", *ENDLESS, "--json", *options],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | variables,
    )


def training(folder, *options):
    """Start one, and wait until its first progress line."""
    with patience(start(folder, *options)) as process:
        process.stderr.readline()
    return process


def ending(process):
    stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, stdout, stderr


@pytest.fixture
def hangups_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what a child inherits
    yield
    signal.signal(signal.SIGHUP, previous)


def stopped_by(numbers, folder):
    """Start a training, and send it signals, the last of which stops it; return what it says."""
    process = training(folder)
    for number in numbers:
        process.send_signal(number)
    code, stdout, stderr = ending(process)
    assert code == 128 + numbers[-1]
    result = strict_json(stdout)
    assert result["interrupted"] is True
    assert f"Interrupted. To resume: ppocli train --resume {result['run_dir'].removeprefix(f'{folder}/')}" in stderr
    assert result["checkpoint"].endswith("last.safetensors")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_a_valid_last_checkpoint(ppocli, tmp_path, number):
    stopped_by([number], tmp_path)
    assert ppocli("evaluate", "latest", "--episodes", "2").exit_code == 0


def test_a_hangup_that_nohup_ignores_stays_ignored(ppocli, tmp_path, hangups_ignored):
    """Had it been a first request to stop, SIGTERM would have been the second, and ended it with no result."""
    stopped_by([signal.SIGHUP, signal.SIGTERM], tmp_path)
    assert ppocli("evaluate", "latest", "--episodes", "2").exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_ends_several_seeds_well(tmp_path, number):
    """As Ctrl-C sends it, and `timeout`; what the parent alone gets comes to its children as a part of that."""
    process = start(tmp_path, "--seeds", "0,1,7-9", "--jobs", "2")
    begun = set()
    with patience(process):
        while begun != {"seed 0", "seed 1"}:
            line = process.stderr.readline()
            assert line
            begun.add(line[:6])
    os.killpg(process.pid, number)
    code, stdout, stderr = ending(process)
    assert code == 128 + number
    together = strict_json(stdout)
    assert (together["interrupted"], together["failures"], together["figure"]) == (True, {}, None)
    assert [run["interrupted"] for run in together["runs"]] == [True, True]
    assert stderr.count("To resume: ppocli train --resume runs/CartPole-v1/") == 2
    assert "Not begun: --seeds 7,8,9\n" in stderr
    for run in together["runs"]:
        assert Path(run["run_dir"], "checkpoints", "last.safetensors").exists()


# ----------------------------------------------------------------------------------------------------------------------
# While a command starts


def stopped_at(moment, number, folder, *options):
    """Start a training in which all processes get a signal at a moment, see `moment/sitecustomize.py`; return its end.

    Its exit code is the signal's, and there is no traceback.
    """
    python_path = os.pathsep.join([str(Path(__file__).parent / "moment"), os.environ["PYTHONPATH"]])
    code, stdout, stderr = ending(start(folder, *options, PYTHONPATH=python_path, MOMENT=f"{moment} {number:d}"))
    assert (folder / "the-moment-has-come").exists(), stderr
    assert code == 128 + number, stderr
    assert "Traceback" not in stderr
    return stdout, stderr


@pytest.mark.skipif(sys.platform != "linux", reason="one of the moments is a call of glibc")
@pytest.mark.parametrize(
    ("moment", "is_resumable"),
    [
        ("main import ppocli.views", False),
        ("main import torch", False),
        ("child import ppocli.envs.crew", False),
        ("main ctypes.dlsym mallopt", False),  # when all is imported, and training has not begun
        ("main os.mkdir checkpoints", True),
    ],
)
def test_a_signal_while_training_starts_prints_no_traceback(tmp_path, moment, is_resumable):
    options = ("--set", "env.id=Acrobot-v1", "--set", "env.workers=1")
    stdout, stderr = stopped_at(moment, signal.SIGINT, tmp_path, *options)
    assert ("Interrupted. To resume:" in stderr) == bool(stdout) == is_resumable


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("child import ppocli.training.seeds", signal.SIGINT),  # before it knows that this is the parent's to answer
        ("child import ppocli.training.seeds", signal.SIGTERM),
        ("child import torch", signal.SIGTERM),
    ],
)
def test_a_signal_while_a_seed_starts_is_no_failure(tmp_path, moment, number):
    stdout, stderr = stopped_at(moment, number, tmp_path, "--seeds", "0-2", "--jobs", "1", "--quiet")
    together = strict_json(stdout)
    assert (together["interrupted"], together["failures"]) == (True, {})
    assert "killed" not in stderr
