"""The command in terminals of every kind, in pipes that end early, on disks that are full: as people run it."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ppocli.records import checkpoint
from ppocli.records.run import Run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells")

PPOCLI = f"{sys.executable} -m ppocli"
TRAIN = (
    f"{PPOCLI} train --config cartpole --set env.num_envs=8 --set ppo.horizon=32 --set ppo.minibatch_size=256 "
    "--set train.eval_interval=1024 --set train.eval_episodes=2 --set train.env_steps=2048"
)


def shell(command, folder, **variables):
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=os.environ | path | variables, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"TERM": "dumb"},
        {"COLUMNS": "10"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"DISPLAY": ""},
    ],
    ids=str,
)
def test_any_terminal(tmp_path, variables):
    outcome = shell(f"{TRAIN} && {PPOCLI} evaluate latest --episodes 3", tmp_path, **variables)
    assert outcome.returncode == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "agent, greedy" in outcome.stdout.replace("\n", " ") or variables == {"COLUMNS": "10"}


def test_a_reader_that_leaves_early(tmp_path):
    outcome = shell(f"set -o pipefail; {TRAIN} | head -1; {PPOCLI} evaluate latest --episodes 3 | head -1", tmp_path)
    assert outcome.returncode == 0
    assert "Traceback" not in outcome.stderr
    assert "Exception" not in outcome.stderr
    assert len(outcome.stdout.splitlines()) == 2


def test_progress_that_nobody_reads_does_not_end_the_run(tmp_path):
    outcome = shell(f"set -o pipefail; {TRAIN} 2>&1 >result.txt | true", tmp_path)
    assert outcome.returncode == 0
    assert "2,048 env steps" in (tmp_path / "result.txt").read_text()


def test_a_terminal_that_is_closed_leaves_a_run_that_was_asked_to_stop(tmp_path):
    """The program answers the hang-up, although there is nothing left to draw on."""
    terminal, end = os.openpty()
    command = [*TRAIN.split(), "--set", "train.env_steps=1e9", "--set", "train.eval_interval=1e9"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=end, stdout=end, stderr=end, start_new_session=True
    )
    os.close(end)
    seen = b""
    while b"steps" not in seen:
        seen += os.read(terminal, 1000)
    os.close(terminal)
    process.send_signal(signal.SIGHUP)  # as the system does to the terminal's own session
    assert process.wait(60) == 128 + signal.SIGHUP
    (last,) = tmp_path.rglob("last.safetensors")
    checkpoint.load(last)


def test_signals_at_any_moment_of_the_start_print_no_traceback(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    for number in range(8):
        process = subprocess.Popen(
            [*TRAIN.split(), "--set", "env.id=Acrobot-v1", "--set", "env.workers=1", "--set", "train.env_steps=1e9"],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.4 + number / 4)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all its processes
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGINT, errors
        assert "Traceback" not in errors


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-", "< /dev/null > /dev/full"])
def test_closed_and_full_streams_do_not_hurt_the_run(tmp_path, closing):
    outcome = shell(f"{TRAIN} {closing}", tmp_path)
    assert "Traceback" not in outcome.stderr
    (run,) = (tmp_path / "runs" / "CartPole-v1").iterdir()
    assert checkpoint.load(run / "checkpoints" / "last.safetensors").progress.env_steps == 2048


def test_a_full_disk_is_one_line_and_what_was_saved_stays(tmp_path):
    """A limit on the size of files fails their writes just so."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    command = [*TRAIN.split(), "--set", "train.env_steps=1e9", "--set", "train.checkpoint_interval=1024"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    outcome = subprocess.run(
        [*command, "--set", "network.hidden_sizes=[16]"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=limited,
    )
    assert outcome.returncode == 1
    error = outcome.stderr.splitlines()[-1]
    assert error.startswith("error: ")
    assert "File too large" in error
    assert "Traceback" not in outcome.stderr
    (run,) = (tmp_path / "runs" / "CartPole-v1").iterdir()
    assert checkpoint.load(run / "checkpoints" / "last.safetensors").progress.iterations > 4
    assert not list(run.rglob("*.tmp"))


def test_resume_through_the_command_line(tmp_path):
    outcome = shell(
        f"{TRAIN} --json > first.json && {PPOCLI} train --resume latest --json > again.json && "
        f"{PPOCLI} train --resume latest --set train.env_steps=3000 --json > more.json",
        tmp_path,
    )
    assert outcome.returncode == 0, outcome.stderr
    first, again, more = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("first", "again", "more"))
    assert first["run_dir"] == again["run_dir"] == more["run_dir"]
    timeless = ("env_steps", "iterations", "solved", "best_return", "checkpoint")
    assert [first[key] for key in timeless] == [again[key] for key in timeless]
    assert (first["env_steps"], more["env_steps"]) == (2048, 3072)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("train --resume latest --config cartpole", 2, "takes no --config"),
        ("train --resume latest --seed 1", 2, "takes no"),
        ("train --resume latest", 1, "no training run under"),
        ("train --resume nowhere", 1, "no such run or checkpoint; RUN is a run directory"),
        ("train --config cartpole --import no_such_module", 2, "--import no_such_module: No module named"),
    ],
)
def test_wrong_ways_to_resume_and_import(ppocli, arguments, code, message):
    outcome = ppocli(*arguments.split())
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_two_trainers_in_one_directory(tmp_path):
    train = [*TRAIN.split(), "--set", "train.env_steps=1e9", "--set", "train.checkpoint_interval=256"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    first = subprocess.Popen(train, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        first.stderr.readline()
        outcome = shell(f"{PPOCLI} train --resume latest", tmp_path)
        assert (outcome.returncode, outcome.stdout) == (1, "")
        assert "another ppocli train is at work in this run" in outcome.stderr
        outcome = shell(f"{PPOCLI} evaluate latest --episodes 2 && {PPOCLI} render latest", tmp_path)
        assert outcome.returncode == 0, outcome.stderr  # readers are always let in
    finally:
        first.kill()  # the lock dies with its holder
        first.communicate()
    (run,) = (tmp_path / "runs" / "CartPole-v1").iterdir()
    Run(run).lock()


def test_an_environment_of_ones_own(tmp_path):
    (tmp_path / "my_tasks.py").write_text(
        "import gymnasium as gym\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        'gym.register("Mine-v0", CartPoleEnv, max_episode_steps=50)\n'
    )
    sets = "--set env.id=Mine-v0 --set env.workers=1"
    outcome = shell(
        f"{TRAIN} {sets} --import my_tasks && {PPOCLI} evaluate latest --episodes 3 --import my_tasks", tmp_path
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "unseen episodes of Mine-v0" in outcome.stdout
    assert shell(f"{PPOCLI} evaluate latest", tmp_path).returncode != 0
