"""Progress without a dashboard: plain lines, bars for several seeds, and silence."""

import io

import pytest

from ppocli.config.models import Config
from ppocli.envs.cartpole import CartPoleVectorEnv
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.signals import STOPPING, StopRequest
from ppocli.training.job import Job
from ppocli.training.seeds import Failure, SeedResult
from ppocli.views import console, progress
from ppocli.views.progress import PlainLines, SeedsProgress, training_progress
from tests.views.iterations import iteration
from tests.views.test_results import evaluation, training

CONFIG = Config.model_validate({"env": {"id": "CartPole-v1", "num_envs": 16}, "train": {"env_steps": 2048 * 4}})


def said(number, rate=12345.6, recent_return=123.45, **changes):
    return iteration(number, env_steps_per_second=rate, recent_return=recent_return, seconds=1.5, **changes)


def seed_result(return_mean, **changes):
    return SeedResult(**vars(training(**changes)), evaluation=evaluation(return_mean=return_mean))


def single(folder, stop, *, quiet):
    return training_progress(Job(CONFIG, RunWriter(Run(folder))), stop, CartPoleVectorEnv(1), quiet=quiet)


@pytest.fixture
def clock(monkeypatch):
    """The time, which the test moves on."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def screen(monkeypatch):
    """A terminal of 80 columns in place of stderr."""
    terminal = console._Console(width=80, force_terminal=True, record=True, file=io.StringIO())
    monkeypatch.setattr(console, "err", terminal)
    return terminal


def test_plain_lines_come_seldom_but_the_end_is_always_told(capsys, clock):
    shown = PlainLines(CONFIG)
    for number, seconds in ((1, 0), (2, 4.9), (3, 0.2), (4, 0.1)):
        clock[0] += seconds
        shown.update(said(number))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["25%", "75%", "100%"]
    assert lines[-1] == "CartPole-v1  100%  8,192 steps  12,346/s  return 123.5 of 475  after 2 s"


def test_before_the_first_episode_and_without_a_target(capsys):
    PlainLines(CONFIG).update(said(1, recent_return=None, target=None))
    assert "  return -  after" in capsys.readouterr().err


def test_quiet(capsys, tmp_path, screen):
    shown = single(tmp_path, StopRequest(), quiet=True)
    with shown as show, SeedsProgress(CONFIG, [0], StopRequest(), quiet=True) as seeds:
        show(said(4))
        seeds.update((0, said(1, 10.0, 1.0, target=None)))
        seeds.update((0, seed_result(500.0)))
    assert capsys.readouterr().err == ""
    assert screen.export_text() == ""


def test_without_a_terminal_there_is_no_dashboard(tmp_path):
    with single(tmp_path, StopRequest(), quiet=False) as show:
        assert isinstance(show.__self__, PlainLines)


def test_plain_lines_of_several_seeds(capsys, clock):
    with SeedsProgress(CONFIG, [0, 3], StopRequest(), quiet=False) as seeds:
        seeds.update((0, said(1, 10.0, None)))
        seeds.update((3, said(1, 1000.0, 20.0)))
        seeds.update((0, said(2, 10.0, 30.0)))  # too soon to tell
        clock[0] += 5
        seeds.update((0, said(3, 10.0, 40.0)))
        seeds.update((3, Failure("a full disk")))
    assert capsys.readouterr().err.splitlines() == [
        "seed 0   25%  10/s  return - of 475",
        "seed 3   25%  1,000/s  return 20.0 of 475",
        "seed 0   75%  10/s  return 40.0 of 475",
        "seed 3  failed",
    ]


def test_a_terminal_that_cannot_redraw_gets_plain_lines(tmp_path, screen, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stop = StopRequest()
    acknowledgement = stop.acknowledgement
    with single(tmp_path, stop, quiet=False) as show:
        assert isinstance(show.__self__, PlainLines)
    with SeedsProgress(CONFIG, [0], stop, quiet=False) as seeds:
        seeds.update((0, said(1, 10.0, None)))
    assert screen.export_text() == "seed 0   25%  10/s  return - of 475\n"
    assert stop.acknowledgement == acknowledgement  # no escape codes


def test_a_bar_for_each_seed(screen, clock):
    with SeedsProgress(CONFIG, [0, 3], StopRequest(), quiet=False) as seeds:
        seeds.update((0, said(2, 10.0, 30.0)))
        seeds.update((3, seed_result(500.0, solved=True, solved_at_env_steps=4096)))
    text = screen.export_text()
    for part in ("seed 0", "50%", "10/s  return 30.0 of 475", "seed 3", "return 500.0, solved after 4,096 steps"):
        assert part in text


def test_bars_come_as_seeds_begin_and_leave_when_there_are_more_than_lines(screen):
    screen.height = 5  # room for three bars
    with SeedsProgress(CONFIG, range(10), StopRequest(), quiet=False) as seeds:
        assert "10 more to begin" in screen.export_text()
        for seed in range(5):
            seeds.update((seed, said(1, 10.0, None, target=None)))
            screen.export_text()
            seeds.update((seed, seed_result(9.0)))
        frame = screen.export_text()
        assert [f"seed {seed}" in frame for seed in range(6)] == [False, False, True, True, True, False]
        assert "5 more to begin" in frame


def test_a_stop_is_acknowledged_below_the_bars(screen):
    stop = StopRequest()
    with SeedsProgress(CONFIG, [0], stop, quiet=False) as seeds:
        assert "Ctrl-C stops and saves" in screen.export_text()
        stop.signal_number = 2
        seeds.update((0, said(2, 10.0, 30.0)))
    assert STOPPING in screen.export_text()
    assert stop.acknowledgement == f"\r\x1b[2K{STOPPING}".encode()  # no new line, which would break the frame
