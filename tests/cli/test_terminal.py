"""The command in terminals of every kind, in pipes that end early, on disks that are full: as people run it."""

import itertools
import os
import resource
import signal
import subprocess
import sys
from contextlib import closing

import gymnasium as gym
import pytest

from ppocli.records import checkpoint
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from tests.cli.commands import FAST, PATIENCE_SECONDS, error_line, patience, strict_json

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells")

PPOCLI = f"{sys.executable} -m ppocli"
TRAIN = f"{PPOCLI} train --config cartpole {' '.join(FAST)}"
ENDLESS = ("--set", "train.env_steps=1e9", "--set", "train.eval_interval=1e9")


def shell(command, folder, **variables):
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def in_one_process(*commands):
    """Return a shell's command that runs several of ours, one after the other, and imports torch once."""
    program = (
        "import sys\nfrom ppocli.cli import main\n"
        f"for command in {commands!r}:\n"
        "    sys.argv = ['ppocli', *command.split()]\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n        assert end.code == 0\n"
    )
    return f'{sys.executable} -c "{program}"'


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"TERM": "dumb", "DISPLAY": "", "LC_ALL": "C"}, "agent, greedy"),
        ({"COLUMNS": "10"}, "3 unseen episodes of CartPole-v1, seed 0"),  # there is no room for the table's words
        ({"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, "agent, greedy"),
    ],
    ids=str,
)
def test_any_terminal(tmp_path, variables, shown):
    train = f"train --config cartpole {' '.join(FAST)}"
    outcome = shell(in_one_process(train, "evaluate latest --episodes 3"), tmp_path, **variables)
    assert outcome.returncode == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert shown in outcome.stdout


def test_a_reader_that_leaves_early(tmp_path):
    outcome = shell(f"set -o pipefail; {TRAIN} | head -1; {PPOCLI} runs | head -1", tmp_path)
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
    process = subprocess.Popen(
        [*TRAIN.split(), *ENDLESS],
        cwd=tmp_path,
        env=os.environ | {"TERM": "xterm"},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    seen = b""
    with patience(process):
        while b"steps" not in seen:
            seen += os.read(terminal, 1000)
    os.close(terminal)
    process.send_signal(signal.SIGHUP)  # as the system does to the terminal's own session
    assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGHUP
    (last,) = tmp_path.rglob("last.safetensors")
    checkpoint.load(last)


CLOSED = [
    " ".join(closing) for count in range(1, 4) for closing in itertools.combinations(["<&-", ">&-", "2>&-"], count)
]


@pytest.mark.parametrize("closing", CLOSED)
def test_a_file_never_gets_the_number_of_a_stream_that_is_closed(tmp_path, closing):
    program = (
        "import os, sys; from ppocli.cli.process import make_streams_safe; make_streams_safe(); "
        "file = open('log', 'w'); print('result'); print('error', file=sys.stderr); os.write(2, b'a last word'); "
        "print(sys.stdin.read(), file=file); assert file.fileno() > 2"
    )
    outcome = shell(f'{sys.executable} -c "{program}" {closing}', tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "log").read_text() == "\n"
    assert outcome.stdout == ("" if ">&-" in closing.split() else "result\n")
    assert outcome.stderr == ("" if "2>&-" in closing.split() else "error\na last word")


@pytest.mark.parametrize("closing", ["<&- >&- 2>&-", "< /dev/null > /dev/full"])
def test_closed_and_full_streams_do_not_hurt_the_run(tmp_path, closing):
    outcome = shell(f"{TRAIN} {closing}", tmp_path)
    assert "Traceback" not in outcome.stderr
    (run,) = (tmp_path / "runs" / "CartPole-v1").iterdir()
    assert checkpoint.load(run / "checkpoints" / "last.safetensors").progress.env_steps == 2048


def test_a_full_disk_is_one_line_and_what_was_saved_stays(ppocli, tmp_path):
    """A limit on the size of files fails their writes just so."""
    options = ("--set", "train.checkpoint_interval=1024", "--set", "network.hidden_sizes=[16]", "--quiet")
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, unlimited[1]))
    try:
        outcome = ppocli("train", "--config", "cartpole", *FAST, *ENDLESS, *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "File too large" in error_line(outcome, 1)
    (run,) = (tmp_path / "runs" / "CartPole-v1").iterdir()
    assert checkpoint.load(run / "checkpoints" / "last.safetensors").progress.iterations > 4
    assert not list(run.rglob("*.tmp"))


def test_resume_through_the_command_line(ppocli, run_dir):
    (before,) = strict_json(ppocli("runs", "--json").stdout)["runs"]
    again, more = (
        strict_json(ppocli("train", "--resume", "latest", *options, "--json").stdout)
        for options in ((), ("--set", "train.env_steps=3000"))
    )
    assert before["run_dir"] == again["run_dir"] == more["run_dir"] == str(run_dir)
    assert {key: again[key] for key in ("env_steps", "solved", "best_return")}.items() <= before.items()
    assert again["checkpoint"] == str(run_dir / "checkpoints" / "best.safetensors")
    assert [again[key] for key in ("resumed_at_env_steps", "env_steps", "iterations")] == [2048, 2048, 8]
    assert [more[key] for key in ("resumed_at_env_steps", "env_steps", "iterations")] == [2048, 3072, 12]


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
    assert message in error_line(ppocli(*arguments.split()), code)


def test_two_trainers_in_one_directory(ppocli, tmp_path):
    idle = ("--set", "train.checkpoint_interval=256", "--set", "update.learning_rate=1e-9")  # episodes stay short
    endless = [*TRAIN.split(), *ENDLESS, *idle]
    first = subprocess.Popen(endless, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        with patience(first):
            first.stderr.readline()
        line = error_line(ppocli("train", "--resume", "latest"), 1)
        assert "another ppocli train is at work in this run" in line
        for reader in ("evaluate", "render"):  # readers are always let in
            assert ppocli(reader, "latest", "--episodes", "1").exit_code == 0
    finally:
        first.kill()  # the lock dies with its holder
        first.communicate()
    (run,) = (tmp_path / "runs" / "CartPole-v1").iterdir()
    with closing(RunWriter(Run(run))) as other:
        other.lock()


def test_an_environment_of_ones_own(ppocli, tmp_path):
    (tmp_path / "my_tasks.py").write_text(
        "import gymnasium as gym\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        'gym.register("Mine-v0", CartPoleEnv, max_episode_steps=50)\n'
    )

    def anew(*arguments):
        """Run a command in a process that has not imported the environment."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", [*sys.path])
            outcome = ppocli(*arguments)
        sys.modules.pop("my_tasks", None)
        gym.registry.pop("Mine-v0", None)
        return outcome

    mine = ("--set", "env.id=Mine-v0", "--set", "env.workers=1", "--import", "my_tasks")
    assert anew("train", "--config", "cartpole", *FAST, *mine).exit_code == 0
    outcome = anew("evaluate", "latest", "--episodes", "3", "--import", "my_tasks")
    assert (outcome.exit_code, "unseen episodes of Mine-v0" in outcome.stdout) == (0, True)
    assert "'Mine-v0' is not an environment" in error_line(anew("evaluate", "latest"), 2)
