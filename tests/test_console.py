"""What a person sees in a terminal, drawn into a string."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ppocli import console
from ppocli.checkpoint import Progress
from ppocli.config import Config
from ppocli.logs import METRICS_COLUMNS, Metrics
from ppocli.train import Report

CONFIG = Config.model_validate({"env": {"id": "CartPole-v1"}, "train": {"env_steps": 2048 * 4}})


def report(iteration, **changes):
    values = {"iteration": iteration, "env_steps": 2048 * iteration, "env_steps_per_second": 12345.6, "seconds": 1.5}
    metrics = Metrics(**dict.fromkeys(METRICS_COLUMNS, 1.0) | values)
    return replace(Report(metrics, Progress(), recent_return=123.45, target=475.0, saved=False), **changes)


@pytest.fixture
def screen(monkeypatch):
    """A terminal of 80 columns in place of stderr."""
    terminal = Console(width=80, force_terminal=True, record=True, file=io.StringIO())
    monkeypatch.setattr(console, "_err", terminal)
    return terminal


def test_the_bar_shows_steps_speed_return_and_time_left(screen):
    with console.TrainingProgress(CONFIG) as progress:
        progress.update(report(2))
    text = screen.export_text()
    for part in ("50%", "4,096 steps", "12,346/s", "return 123.5 of 475", "ETA 0:0"):
        assert part in text


def test_without_a_target_or_an_episode(screen):
    with console.TrainingProgress(CONFIG) as progress:
        progress.update(report(1, recent_return=None, target=None))
    assert "return - " in screen.export_text()


def test_plain_lines_come_seldom_but_the_end_is_always_told(capsys):
    with console.TrainingProgress(CONFIG) as progress:
        for iteration in range(1, 5):
            progress.update(report(iteration))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["25%", "100%"]
    assert lines[-1] == "CartPole-v1  100%  8,192 steps  12,346/s  return 123.5 of 475  after 2 s"
