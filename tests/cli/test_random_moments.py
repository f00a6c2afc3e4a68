"""Signals to every command at random moments, from Enter to its end: its exit code, its words, and what it leaves.

What comes before our first line runs cannot be ours: while Python starts and looks for the package, a signal does what
Python or the system does. That is no matter of time here: a command that had not come so far says so itself (see
`traces/sitecustomize.py`), and is only asked whether it left something behind.
"""

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.cli.commands import FAST, PATIENCE_SECONDS, patience, strict_json
from tests.cli.conftest import train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and /dev/shm")

LEFT_SECONDS = 30
"""That what a command started has to end after it; the children of `--seeds` still write their last checkpoints."""
WORKER = ("--config", "pendulum", "--set", "env.workers=1", "--set", "env.num_envs=16")
SHORT = (
    *("--set", "train.env_steps=2048", "--set", "train.eval_interval=1e9", "--set", "train.eval_episodes=2"),
    *("--set", "rollout.horizon=32", "--set", "update.minibatch_size=256"),
)
COMMANDS = {
    "train": (*WORKER, *SHORT, "--json"),
    "evaluate": ("Pendulum-v1/", "--episodes", "20", "--json"),
    "random-baseline": (*WORKER, "--episodes", "20", "--json"),
    "runs": ("--json",),
    "train --seeds": ("0,1", "--jobs", "2", "--config", "cartpole", *FAST, "--json"),
    "render": ("CartPole-v1/",),
    "plot": ("CartPole-v1/",),
    "report": ("CartPole-v1/",),
}
FIRST = ["train", "runs"]
"""Tried by default; the others, which begin and end just so, under `-m slow`."""
WAYS = [
    *("SIGINT to all", "SIGTERM to one", "SIGHUP to all", "SIGPIPE stdout", "SIGTERM to all"),
    *("SIGINT to one", "SIGKILL to one", "SIGHUP to one", "SIGPIPE stderr", "SIGPIPE stdout and stderr"),
]
"""A terminal sends to all processes, `kill` to one; SIGPIPE comes of a reader that leaves."""
CASES = [
    (
        list(COMMANDS)[number % len(COMMANDS)],
        WAYS[(number % len(COMMANDS) + 3 * (number // len(COMMANDS))) % len(WAYS)],
        random.Random(number).random(),  # after which share of the time that the command takes
    )
    for number in range(200)
]


@dataclass(frozen=True)
class Ended:
    """A command's end."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    had_begun: bool  # whether it ever came to code of ours
    had_ended: bool  # it had printed its result when the signal came
    left: list[str]  # processes, and what has a name in /dev/shm


class Traced:
    """A command that runs in a folder, and what it leaves behind."""

    def __init__(self, folder, *arguments):
        self.traces = folder / uuid.uuid4().hex
        self.traces.mkdir()
        self._shared = set(Path("/dev/shm").iterdir())
        path = [str(Path(__file__).with_name("traces")), os.environ["PYTHONPATH"]]
        variables = os.environ | {"PYTHONPATH": os.pathsep.join(path), "TRACES": str(self.traces)}
        variables.pop("PYTHONUNBUFFERED", None)
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ppocli", *arguments],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def send(self, way):
        """Do to the command what a way of WAYS says; return whether it had ended anyway."""
        process = self.process
        had_ended = process.poll() is not None or bool(select.select([process.stdout], [], [], 0)[0])
        name, _, to = way.partition(" ")
        if name == "SIGPIPE":
            for stream in to.split(" and "):
                getattr(process, stream).close()
        elif process.poll() is None:
            (os.killpg if to == "to all" else os.kill)(process.pid, signal.Signals[name])
        return had_ended

    def ending(self, had_ended=False):
        """Wait for its end, and that of all that it started, and kill what does not end by itself."""
        try:
            code = self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.monotonic() - self._started
        limit = time.monotonic() + LEFT_SECONDS
        while (left := self._processes() + self._names()) and time.monotonic() < limit:
            psutil.wait_procs(self._processes(), timeout=0.05)
        for process in self._processes():
            process.kill()
        with self.process as process:
            texts = ["" if stream.closed else stream.read() for stream in (process.stdout, process.stderr)]
        return Ended(code, *texts, seconds, (self.traces / "begun").exists(), had_ended, list(map(str, left)))

    def _processes(self):
        """Return all processes, of whatever parent or session, that have inherited its variables."""
        every = psutil.process_iter(["environ"])
        return [one for one in every if (one.info["environ"] or {}).get("TRACES") == str(self.traces)]

    def _names(self):
        new = set(Path("/dev/shm").iterdir()) - self._shared
        return [path for path in new if self.traces.name in path.name or not path.name.startswith("sem.")]


def said(stderr):
    """Return the lines that are not about how far training has come."""
    return [line for line in stderr.splitlines() if "% " not in line]


def what_is_wrong(command, way, ended):
    """Yield in words what is wrong about an end."""
    if ended.left:
        yield f"left behind {ended.left}"
    if not ended.had_begun:
        return
    number = signal.Signals[way.split()[0]]
    right = {-9 if number == signal.SIGKILL else 128 + number}
    if ended.had_ended or number == signal.SIGPIPE:
        right |= {0}
    if ended.had_ended:  # while Python itself ends it has no handlers any more; to a shell that is 128 + n, too
        right |= {-number}
    if ended.code not in right:
        yield f"exit code {ended.code}"
    for words in ("Traceback", "Exception ignored", "Fatal Python error", "leaked", "resource_tracker"):
        if words in ended.stderr:
            yield words
    if len(said(ended.stderr)) > 6:
        yield "many lines"
    if ended.stdout and "--json" in COMMANDS[command]:
        strict_json(ended.stdout)


@pytest.fixture(scope="session")
def two_runs(trained_once, tmp_path_factory):
    """A folder with runs of CartPole, and of Pendulum with a worker; nobody is to write there."""
    run = train(tmp_path_factory.mktemp("two"), *WORKER, *SHORT)
    shutil.copytree(trained_once, run.parents[1] / "CartPole-v1" / trained_once.name)
    return run.parents[1]


@pytest.mark.parametrize(
    ("command", "number"),
    [
        *((command, 16) for command in FIRST),  # which have two each of them
        *(pytest.param(command, 200, marks=pytest.mark.slow) for command in COMMANDS),
    ],
)
def test_a_signal_at_any_moment(command, number, two_runs, tmp_path):
    def started(name):
        folder = tmp_path / name
        folder.mkdir()
        if not command.startswith("train"):
            shutil.copytree(two_runs, folder / "runs")
        return Traced(folder, *command.split(), *COMMANDS[command])

    undisturbed = started("undisturbed").ending()
    assert (undisturbed.code, undisturbed.had_begun, undisturbed.left) == (0, True, []), undisturbed.stderr
    wrong = []
    for case, (its_command, way, share) in enumerate(CASES[:number]):
        if its_command != command:
            continue
        traced = started(str(case))
        with suppress(subprocess.TimeoutExpired):
            traced.process.wait(share * undisturbed.seconds)
        ended = traced.ending(traced.send(way))
        faults = list(what_is_wrong(command, way, ended))
        if number == 200 and command == "train":
            faults += not_resumable_in(tmp_path / str(case))
        if faults:
            wrong.append(f"{case}: {way} after {share:.0%}: {', '.join(faults)}: {ended.stderr[-1500:]}")
    assert not wrong, "\n".join(wrong)


def not_resumable_in(folder):
    """Yield what is said of a run in a folder that cannot be resumed."""
    for run in [path.parent for path in folder.rglob("run.json")]:
        again = Traced(folder, "train", "--resume", str(run)).ending()
        if again.code != 0:
            yield f"not resumable: {again.stderr}"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(WORKER, id="a worker"),
        pytest.param((*WORKER, "--seeds", "0,1", "--jobs", "1"), id="seeds with a worker each", marks=pytest.mark.slow),
    ],
)
def test_a_parent_that_is_killed_takes_all_with_it_and_nothing_is_said(options, tmp_path):
    """Neither by what is left of the command, nor by multiprocessing's resource tracker, on a shell's next line."""
    traced = Traced(tmp_path, "train", *options, "--set", "train.env_steps=1e9", "--set", "train.eval_interval=1e9")
    with patience(traced.process):
        traced.process.stderr.readline()
    traced.send("SIGKILL to one")
    ended = traced.ending()
    assert (ended.code, ended.left) == (-signal.SIGKILL, [])
    assert said(ended.stderr) == []
