"""Where things end: full disks, readers that leave, Ctrl-C before anything is there, folders that cannot be entered."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ppocli.config.models import Config
from ppocli.records.info import RunInfo
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from tests.cli.commands import FAST, PATIENCE_SECONDS, error_line, strict_json

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full, capabilities, signals")

HERE = Path(__file__).parent


def run(folder, command, *, site=None, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=None, **variables):
    """Run a command with Python's standard buffering; `site` is a folder beside this file with a sitecustomize.py."""
    path = [*([str(HERE / site)] if site else []), os.environ["PYTHONPATH"]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)} | variables
    environment.pop("PYTHONUNBUFFERED", None)
    return subprocess.run(
        [sys.executable, "-m", "ppocli", *command.split()],
        cwd=folder,
        env=environment,
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
        preexec_fn=preexec_fn,
        timeout=PATIENCE_SECONDS,
    )


def clean(stderr):
    """Return its lines, in which Python itself has nothing to say."""
    for words in ("Traceback", "Exception ignored", "leaked"):
        assert words not in stderr, stderr
    return stderr.splitlines()


# ----------------------------------------------------------------------------------------------------------------------
# Nobody takes what is written


TRAIN = f"train --config cartpole {' '.join(FAST)}"


def slow(*commands):
    return [pytest.param(command, marks=pytest.mark.slow) for command in commands]


PRINTING = [
    *("--help", "runs --json", "evaluate latest --episodes 2 --json"),
    *slow("--version", "runs", "train --resume latest --json", "random-baseline --config cartpole --episodes 2"),
    *slow("train --help", "train --resume latest", "plot latest", "render latest", "report latest", "evaluate latest"),
    *slow(f"{TRAIN} --seeds 0 --json"),
]


@contextmanager
def full_disk():
    with Path("/dev/full").open("w") as file:
        yield file


@contextmanager
def nobody():
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("command", PRINTING)
def test_a_result_that_a_full_disk_does_not_take_is_one_line(run_dir, command):
    with full_disk() as disk:
        outcome = run(run_dir.parents[2], command, stdout=disk)
    (error,) = [line for line in clean(outcome.stderr) if line.startswith("error: ")]
    assert (outcome.returncode, error) == (1, outcome.stderr.splitlines()[-1])
    assert re.fullmatch(r"error: .*stdout.*: No space left on device", error)


@pytest.mark.parametrize("command", PRINTING)
def test_a_reader_of_the_result_that_has_left_is_no_error(run_dir, command):
    with nobody() as pipe:
        outcome = run(run_dir.parents[2], command, stdout=pipe)
    assert outcome.returncode in (0, 128 + signal.SIGPIPE)
    assert not [line for line in clean(outcome.stderr) if "error" in line or "Broken pipe" in line]


@pytest.mark.parametrize("nowhere", [full_disk, nobody])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("train", 2),
        ("trian", 2),
        ("evaluate nothing", 1),
        pytest.param("evaluate latest --episodes 2", 0, marks=pytest.mark.slow),  # says there where it has written
        (TRAIN, 0),  # shows its progress there
    ],
    ids=["no option", "no command", "no run", "evaluate", "train"],
)
def test_words_that_nobody_takes_change_no_exit_code(run_dir, command, code, nowhere):
    with nowhere() as stream:
        outcome = run(run_dir.parents[2], command, stderr=stream)
    assert (outcome.returncode, bool(outcome.stdout)) == (code, code == 0)


def test_where_neither_stream_can_be_written_the_exit_code_tells(run_dir):
    with full_disk() as disk:
        assert run(run_dir.parents[2], "runs", stdout=disk, stderr=disk).returncode == 1


# ----------------------------------------------------------------------------------------------------------------------
# Ctrl-C while a command is imported


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("--help", "typer"),
        ("runs", "ppocli.cli.app"),
        ("runs", "ppocli.records.catalog"),
        ("runs", "rich.table"),
        ("train --config cartpole", "ppocli.config.load"),
        ("train --config cartpole", "torch"),
        ("train --config cartpole --seeds 0,1", "ppocli.training.seeds"),
        ("evaluate latest", "torch"),
        ("random-baseline --config cartpole", "gymnasium"),
        ("render latest", "ppocli.pictures.films"),
        ("render latest", "torch"),
        ("render latest", "pygame"),
        ("plot latest", "matplotlib"),
        ("report latest", "jinja2"),
    ],
)
def test_a_signal_while_a_command_is_imported_is_one_line(run_dir, command, module, number):
    outcome = run(run_dir.parents[2], command, site="moment", MOMENT=f"main import {module} {number:d}")
    assert Path(run_dir.parents[2], "the-moment-has-come").exists(), outcome.stderr
    assert (outcome.returncode, outcome.stdout) == (128 + number, "")
    assert len(clean(outcome.stderr)) == 1


# ----------------------------------------------------------------------------------------------------------------------
# Folders


def without_the_right_to_enter_everything():
    """In a child of a superuser, who may enter every folder otherwise; others have no such right anyway."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture
def locked_up():
    """Take the rights to a file or folder away, as long as the test goes on."""
    taken = []

    def lock(path):
        taken.append((path, path.stat().st_mode))
        path.chmod(0)

    yield lock
    for path, mode in taken:
        path.chmod(mode)


@pytest.mark.parametrize("options", [" --json", pytest.param("", marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["", "run.json", "config.yaml", "metrics.csv", "its environment's"])
def test_a_run_that_cannot_be_read_is_named_beside_those_that_can(run_dir, locked_up, what, options):
    other = shutil.copytree(run_dir, run_dir.parents[1] / "Other-v0" / "other")
    hidden = run_dir.parent if what == "its environment's" else run_dir
    locked_up(hidden if hidden != run_dir else run_dir / what)
    outcome = run(run_dir.parents[2], f"runs{options}", preexec_fn=without_the_right_to_enter_everything)
    (line,) = clean(outcome.stderr)
    assert outcome.returncode == 0
    assert line.startswith("warning: ")
    assert hidden.name in line
    assert "Permission denied" in line or "permission" in line
    assert other.name in outcome.stdout
    assert run_dir.name not in outcome.stdout


@pytest.mark.parametrize("command", ["runs", "evaluate latest"])
def test_a_folder_of_runs_that_cannot_be_entered_is_one_line(run_dir, locked_up, command):
    locked_up(run_dir.parents[1])
    outcome = run(run_dir.parents[2], command, preexec_fn=without_the_right_to_enter_everything)
    (line,) = clean(outcome.stderr)
    assert (outcome.returncode in (1, 2), outcome.stdout) == (True, "")
    assert re.match(r"error: .*runs.*(not readable|[Pp]ermission)", line)


@pytest.mark.parametrize(
    "command", ["evaluate latest", "train --config cartpole --quiet", "random-baseline --config cartpole"]
)
def test_a_working_directory_that_is_gone_is_one_line(tmp_path, command):
    gone = tmp_path / "gone"
    gone.mkdir()
    outcome = run(gone, command, preexec_fn=gone.rmdir)
    (line,) = clean(outcome.stderr)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert re.match(r"error: .*(working|current) (directory|folder)", line)


@pytest.mark.slow
def test_a_folder_whose_name_ascii_does_not_have(tmp_path):
    """However little the locale knows, and whatever Python would do about it by itself."""
    folder, ascii_only = tmp_path / "ü", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    folder.mkdir()
    for command in (TRAIN, "evaluate latest --episodes 2", "runs", "runs --json"):
        outcome = run(folder, f"{command} --runs-dir läufe", **ascii_only)
        assert outcome.returncode == 0, outcome.stderr
        assert not [line for line in clean(outcome.stderr) if "warning" in line or "error" in line]
    (listed,) = strict_json(outcome.stdout)["runs"]
    assert listed["state"] == "finished"
    assert os.fsencode(listed["run_dir"]).startswith(os.fsencode(folder / "läufe"))


# ----------------------------------------------------------------------------------------------------------------------
# A run that has only just begun


@pytest.fixture(params=["with a header", "empty"])
def just_begun(request, tmp_path):
    """A run in its first iteration, with logs as they are then; those of earlier versions were empty."""
    config = Config.model_validate({"env": {"id": "CartPole-v1"}})
    with closing(RunWriter(Run(tmp_path / "runs" / "CartPole-v1" / "20260101T000000Z-seed0"))) as writer:
        writer.create(config, RunInfo())
        if request.param == "empty":
            for name in ("metrics.csv", "episodes.csv"):
                (writer.run.path / name).write_bytes(b"")
        yield writer


def test_a_run_that_has_just_begun_is_listed_as_it_stands(just_begun, ppocli):
    def listed():
        outcome = ppocli("runs", "--json")
        assert (outcome.exit_code, outcome.stderr) == (0, "")
        (one,) = strict_json(outcome.stdout)["runs"]
        return one["state"], one["env_steps"], one["best_return"]

    assert listed() == ("running", 0, None)
    just_begun.close()  # as its end does, of whatever kind
    assert listed() == ("interrupted", 0, None)
    assert just_begun.run.path.name in ppocli("runs").stdout


@pytest.mark.parametrize("command", ["plot", "evaluate", "render"])
def test_of_a_run_that_has_just_begun_there_is_nothing_to_show(just_begun, ppocli, command):
    just_begun.close()
    line = error_line(ppocli(command, "latest"), 1)
    missing = "no episode has ended in it" if command == "plot" else "no checkpoint in it"
    assert line.startswith(f"error: runs/CartPole-v1/{just_begun.run.path.name}: {missing}")


def test_the_report_of_a_run_that_has_just_begun_says_so(just_begun, ppocli):
    just_begun.close()
    outcome = ppocli("report", "latest")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert "interrupted at 0 of 500,736 env steps" in (just_begun.run.path / "report.html").read_text()


# ----------------------------------------------------------------------------------------------------------------------
# A module of the user's that cannot be imported


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("int('three')", "invalid literal for int()"),
        ("max(None)", "'NoneType' object is not iterable"),
        ("{}['no such key']", "no such key"),
        ("1 / 0", "division by zero"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("open('no_such_file')", "No such file or directory"),
        ("def", "invalid syntax"),
        ("import sys; sys.exit()", "exit"),
    ],
)
def test_a_module_that_fails_shows_its_own_line_and_none_of_ours(tmp_path, ppocli, monkeypatch, line, reason):
    (tmp_path / "broken.py").write_text(f'"""A module."""\n\n{line}\n')
    monkeypatch.setattr(sys, "path", [*sys.path])
    outcome = ppocli("random-baseline", "--config", "cartpole", "--episodes", "1", "--import", "broken")
    assert outcome.exit_code in (1, 2)
    assert outcome.stdout == ""
    assert re.search(r"broken\.py\W+(line )?3\b", outcome.stderr)
    assert reason in outcome.stderr
    assert "importlib" not in outcome.stderr
    assert str(HERE.parents[1] / "ppocli") not in outcome.stderr


# ----------------------------------------------------------------------------------------------------------------------
# No shared memory


SHARED = f"train --config pendulum --set env.num_envs=16 {' '.join(FAST[:6])} {' '.join(FAST[8:12])} --quiet --json"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core alone has no workers")
def test_where_there_is_no_shared_memory_training_goes_on_without_workers(tmp_path):
    outcome = run(tmp_path, SHARED, site="read_only_shm")
    assert outcome.returncode == 0, outcome.stderr
    (line,) = clean(outcome.stderr)
    assert re.match(r"warning: .*(/dev/shm|shared memory).*worker", line)
    assert strict_json(outcome.stdout)["env_steps"] == 2048


def test_where_there_is_no_shared_memory_a_worker_that_was_asked_for_is_one_line(tmp_path):
    outcome = run(tmp_path, f"{SHARED} --set env.workers=1", site="read_only_shm")
    (line,) = clean(outcome.stderr)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert re.match(r"error: .*(/dev/shm|shared memory).*env\.workers=0", line)
    assert "files: " not in line
