"""Trainings that go wrong, and are told so: those that `docs/hints.png` shows."""

import runpy
from pathlib import Path

import pytest

HINTS = runpy.run_path(str(Path(__file__).parents[2] / "docs/make_hints.py"))


@pytest.mark.slow
@pytest.mark.parametrize("metric", HINTS["PROVOCATIONS"])
def test_what_provokes_a_hint_is_answered_by_it(metric):
    _, found = HINTS["provoked"](metric)
    assert sum(metric in metrics for metrics in found) >= 5
