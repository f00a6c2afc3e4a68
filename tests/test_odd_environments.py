"""The odd environments of users, tried by the command line: each works, or is refused by one line that helps."""

import sys

import pytest

from tests.odd_commands import COMMANDS, attempt
from tests.odd_environments import CASES

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and processes")

SAMPLE = [
    ("NoRenderMode", "0", ("train",)),
    ("ObsAlone", "0", ("train",)),
    ("RaisesInWorker", "1", ("train",)),
    ("RefusedInStep", "0", ("train",)),
    ("ExitsInReset", "0", ("evaluate",)),
    ("DiscreteAction", "1", ("train",)),
    ("Prints", "1", ("train",)),
    ("MovesInStep", "0", ("train",)),
    ("CloseRaises", "0", ("train",)),
    ("RunsProgram", "1", ("train",)),
    ("FloatFrameGif", "0", ("train", "render")),
    ("ImportTypeError", "0", ("train",)),
    ("ObsAlone", "0", ("check",)),
    ("WorkerKilled", "0", ("check",)),
]
"""One of each kind, so that a run of all tests stays short: `pytest -m slow` tries all, in every way."""


def deviations(name, mode, folder, commands):
    return [f"{command}: {wrong}" for command, _, wrong in attempt(CASES[name], mode, folder / name, commands) if wrong]


def test_each_says_in_one_line_what_is_odd():
    assert len(CASES) >= 60
    assert [name for name, case in CASES.items() if not (case.cls.__doc__ or "").endswith(".")] == []
    assert [name for name, case in CASES.items() if "\n" in case.cls.__doc__] == []


@pytest.mark.parametrize(
    ("name", "mode", "commands"), SAMPLE, ids=[f"{name}-{commands[-1]}" for name, _, commands in SAMPLE]
)
def test_a_sample_of_odd_environments(tmp_path, name, mode, commands):
    assert deviations(name, mode, tmp_path, commands) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, case in CASES.items() for mode in case.modes])
def test_every_odd_environment(tmp_path, name, mode):
    assert deviations(name, mode, tmp_path, COMMANDS) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_oddity_is_found_before_training(tmp_path, name):
    assert deviations(name, CASES[name].modes[0], tmp_path, ("check",)) == []
