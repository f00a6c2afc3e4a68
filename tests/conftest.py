"""What every test can use: the small environments of `tests/environments.py`, and the command line."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ppocli import guests
from ppocli.cli import main
from ppocli.views import console
from tests import environments

environments.register()
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is there: tests run beside each other
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # what tests start is this checkout's code, too
# A shell's background jobs ignore Ctrl-C, those of nohup a hang-up, and so would what they start; our children are to
# be as in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def nothing_left_of_a_command():
    """What one test has imported, and where its command began, is nothing to the others."""
    yield
    guests.IMPORTED.clear()
    console.began_in = None


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def ppocli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path) -> Callable[..., Outcome]:
    """Run `ppocli ARGUMENTS` in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["ppocli", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return Outcome(stopped.value.code, captured.out, captured.err)

    return run
