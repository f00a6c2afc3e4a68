"""What commands end with, drawn into a string."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ppocli.evaluation.statistics import AgentResult, Statistics
from ppocli.records.catalog import RunSummary
from ppocli.training.outcome import TrainingResult
from ppocli.training.seeds import Failure, SeedResult, over_seeds
from ppocli.views import results
from ppocli.views.console import _Console


@pytest.fixture
def screen(monkeypatch):
    """A terminal of 80 columns in place of stdout."""
    terminal = _Console(width=80, record=True, file=io.StringIO())
    monkeypatch.setattr(results, "out", terminal)
    return terminal


# ----------------------------------------------------------------------------------------------------------------------
# The table of runs


def summary(**changes):
    values = {
        "run_dir": Path("runs/LunarLander-v3/20260101T000000Z-seed3"),
        "env_id": "LunarLander-v3",
        "name": None,
        "seed": 3,
        "state": "interrupted",
        "env_steps": 98_304,
        "total_env_steps": 1_000_000,
        "best_return": 231.26,
        "solved": True,
        "solved_at_env_steps": 91_000,
        "started": (datetime.now(UTC) - timedelta(hours=3, minutes=59)).isoformat(),
        "error": None,
    }
    return RunSummary(**values | changes)


def test_runs_are_a_row_each_within_80_columns(screen):
    results.runs_table([summary(), summary(state="failed", solved=False, best_return=None, env_steps=999, started="?")])
    header, _, first, second, _ = screen.export_text().splitlines()
    assert header.split() == ["env", "run", "state", "steps", "return", "solved", "when"]
    assert first.split() == [
        *("LunarLander-v3", "20260101T000000Z-seed3", "interrupted", "98k", "~231.3", "91k", "3", "h"),
    ]
    assert second.split()[2:] == ["failed", "999", "-", "no", "-"]
    assert len(first) <= 80


def test_what_was_measured_is_told_from_the_best_of_many_evaluations_in_training(screen):
    found = [summary(), summary(evaluated_return=198.76), summary(best_return=None, evaluated_return=-3.0)]
    results.runs_table(found)
    _, _, *rows, note = screen.export_text().splitlines()
    assert [row.split()[4] for row in rows] == ["~231.3", "198.8", "-3.0"]
    assert note == "~ best evaluation in training, which favours long runs; ppocli evaluate measures"
    assert len(note) <= 80
    results.runs_table(found[1:])
    assert "~" not in screen.export_text()


def test_a_narrow_terminal_still_tells_which_run_is_which(screen):
    screen.width = 60
    results.runs_table([summary()])
    text = screen.export_text()
    assert "LunarL" in text
    assert "20260101" in text


def test_a_name_stays_whole_and_what_it_is_of_makes_room(screen):
    results.runs_table([summary(env_id="MountainCarContinuous-v0", best_return=-1234.5)])
    *_, row, rest, _ = screen.export_text().splitlines()
    assert row.split()[1:4] == ["20260101T000000Z-seed3", "interrupted", "98k"]
    assert row.split()[0] + rest.strip() == "MountainCarContinuous-v0"


def test_large_numbers_and_long_times_stay_short(screen):
    old = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    results.runs_table(
        [summary(env_steps=5_005_312, solved=None, started=old), summary(started=datetime.now(UTC).isoformat())]
    )
    _, _, first, second, _ = screen.export_text().splitlines()
    assert first.split()[3:] == ["5.0M", "~231.3", "-", "40", "d"]
    assert second.split()[-1] == "now"


def test_names_from_a_stranger_do_not_steer_the_terminal(screen):
    results.runs_table([summary(run_dir=Path("x/\x1b[2Jevil"))])
    assert "\x1b[2J" not in screen.export_text()


# ----------------------------------------------------------------------------------------------------------------------
# Trainings


def statistics(**changes):
    numbers = dict.fromkeys(
        ("return_mean", "return_std", "return_median", "return_iqm", "return_min", "return_max", "length_mean"), 1.0
    )
    shares = {"solved_fraction": 0.5, "terminated_fraction": 1.0, "truncated_fraction": 0.0}
    values = {"env_id": "X-v0", "episodes": 100, "seed": 0, "deterministic": True, "target_return": 200.0}
    return Statistics(**values | numbers | {"return_iqm_ci95": None, "info_means": {}} | shares | changes)


def evaluation(**changes):
    return AgentResult(
        **vars(statistics(**changes)),
        checkpoint=Path("best.safetensors"),
        checkpoint_env_steps=1,
        random_baseline=statistics(),
    )


def training(**changes):
    values = {
        "run_dir": Path("/x"),
        "env_id": "X-v0",
        "seed": 0,
        "env_steps": 8192,
        "resumed_at_env_steps": None,
        "iterations": 4,
        "wall_seconds": 2.0,
        "seconds": {},
        "env_steps_per_second": 1000.0,
        "solved": False,
        "solved_at_env_steps": None,
        "solved_at_seconds": None,
        "target_return": None,
        "best_return": None,
        "checkpoint": Path("/x/checkpoints/last.safetensors"),
        "interrupted": False,
        "ended_by": "",
    }
    return TrainingResult(**values | changes)


def test_an_interrupted_run_can_be_resumed_by_what_comes_next(screen):
    results.training_result(training(interrupted=True))
    assert re.search(r"^next +ppocli train --resume ", screen.export_text(), re.MULTILINE)


def test_statistics_stand_side_by_side(screen):
    agent = statistics(
        return_mean=261.44,
        return_std=20.0,
        return_median=250.0,
        return_iqm=255.55,
        return_iqm_ci95=(240.0, 260.04),
        return_min=-3.0,
        return_max=300.0,
        length_mean=412.5,
        solved_fraction=0.97,
        terminated_fraction=0.98,
        truncated_fraction=0.02,
        info_means={"is_success": 0.62, "distance": 12.3456},
    )
    results.statistics({"agent, greedy": agent, "random policy": statistics(solved_fraction=None)})
    lines = [re.split(r" *[│┃] *", line)[1:-1] for line in screen.export_text().splitlines()]
    assert [line for line in lines if line] == [
        ["", "agent, greedy", "random policy"],
        ["return, mean", "261.4", "1.0"],
        ["standard deviation", "20.0", "1.0"],
        ["median", "250.0", "1.0"],
        ["interquartile mean", "255.6", "1.0"],
        ["its 95 % interval", "240.0 to 260.0", "-"],
        ["lowest", "-3.0", "1.0"],
        ["highest", "300.0", "1.0"],
        ["length, mean env steps", "412.5", "1.0"],
        ["episodes at the target", "97.0%", "-"],
        ["ended by the task", "98.0%", "100.0%"],
        ["ended by time limit", "2.0%", "0.0%"],
        ["is_success, mean", "0.62", "-"],
        ["distance, mean", "12.3", "-"],
    ]


def seed_result(seed, *, solved_after=None, evaluation=None):
    solved = {"solved": True, "solved_at_env_steps": solved_after, "solved_at_seconds": 4.06} if solved_after else {}
    run = {"run_dir": Path(f"/runs/my env/2026-seed{seed}"), "seed": seed, "interrupted": evaluation is None}
    return SeedResult(**vars(training(**run, wall_seconds=12.34, **solved)), evaluation=evaluation)


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (None, "trained  8,192 env steps in 2.0 s, 1,000 env steps/s"),
        (2048, "trained  6,144 env steps more in 2.0 s; 8,192 in all, 1,000 env steps/s"),
        (8192, "trained  nothing: it has its 8,192 env steps; more with --set train.env_steps=N"),
    ],
)
def test_a_resumed_run_tells_what_it_did_from_what_was_done(screen, before, line):
    results.training_result(training(resumed_at_env_steps=before))
    assert line in screen.export_text().splitlines()
    results.training_result(training(resumed_at_env_steps=before, ended_by="patience"))
    more = "trained  nothing: train.patience ended it; --set train.patience=null goes on"
    assert (more in screen.export_text().splitlines()) == ("nothing" in line)
    results.training_result(training(resumed_at_env_steps=before, interrupted=True))
    assert "nothing" not in screen.export_text()


def shown_seeds(screen, ended, asked, *, stopped=False):
    results.seeds_result(over_seeds("X-v0", asked, ended, at_a_time=2, seconds=30.0, stopped=stopped))
    return screen.export_text()


def test_several_seeds_each_and_together(screen):
    found = evaluation(return_mean=261.44, return_std=20.0, solved_fraction=0.97)
    ended = {0: seed_result(0, solved_after=90_112, evaluation=found), 12: seed_result(12)}
    together = replace(
        over_seeds("X-v0", [0, 5, 12], ended, at_a_time=2, seconds=30.0, stopped=False),
        return_mean=250.0,
        return_mean_ci95=(240.0, 260.04),
        return_iqm=251.0,
        return_iqm_ci95=None,
        seeds_evaluated=3,
        figure=Path("/tmp/x.png"),
    )
    results.seeds_result(together)
    text = screen.export_text()
    for row in (
        "│ 0    │ 261.4 ± 20.0 │         97.0% │ 90,112, 4.1 s │    12.3 │",
        "│ 12   │  interrupted │             - │             - │    12.3 │",
        "mean     250.0, 95 % t interval over seeds 240.0 to 260.0\n",
        "IQM      251.0\n",
        "trained  in 30.0 s, 2 at a time\n",
        "figure   /tmp/x.png\n",
        "next     ppocli report '/runs/my env/2026-seed0' '/runs/my env/2026-seed12'\n",
    ):
        assert row in text


def test_failed_seeds_are_counted_and_named(screen):
    good = evaluation(return_mean=240.0, return_std=20.0, solved_fraction=0.97)
    ended = {seed: seed_result(seed, solved_after=90_112 + seed, evaluation=good) for seed in (0, 2, 4)}
    text = shown_seeds(screen, ended | {1: Failure("no space"), 3: Failure("a bug")}, range(5))
    assert [line.split()[1] for line in text.splitlines() if line.startswith("│")] == list("01234")
    for row in (
        "│ 1    │       failed │             - │             - │       - │",
        "mean     240.0 over 3 of 5 seeds, 95 % t interval over seeds 240.0 to 240.0\n",
        "IQM      240.0 over 3 of 5 seeds, 95 % t interval over seeds 240.0 to 240.0\n",
        "solved   3 of 5 seeds, medians: after 90,116 env steps, 4.1 s\n",  # the failed ones solve it later than any
        "failed   2 of 5 seeds: 1, 3\n",
    ):
        assert row in text


def test_where_half_have_not_solved_the_medians_are_beyond_the_training(screen):
    good, bad = evaluation(return_mean=240.0), evaluation(return_mean=10.0)
    ended = {0: seed_result(0, solved_after=4_096, evaluation=good), 1: seed_result(1, evaluation=bad)}
    text = shown_seeds(screen, ended, range(2))
    assert "solved   1 of 2 seeds, medians: after > 8,192 env steps, > 12.3 s\n" in text


def test_of_seeds_that_were_interrupted_nobody_knows_when_they_solve(screen):
    good = evaluation(return_mean=240.0)
    ended = {0: seed_result(0, solved_after=4_096, evaluation=good), 1: seed_result(1)}
    text = shown_seeds(screen, ended, range(4), stopped=True)
    assert "mean     240.0 over 1 of 4 seeds\n" in text
    assert "solved   1 of 4 seeds\n" in text


def test_seeds_without_a_result_are_named_with_their_reason(capsys):
    ended = {0: seed_result(0), 1: Failure("no space"), 2: Failure("no space"), 3: Failure("a bug")}
    results.seeds_without_result(over_seeds("X-v0", range(6), ended, at_a_time=2, seconds=1.0, stopped=True))
    assert capsys.readouterr().err.splitlines() == [
        "error: seeds 1, 2: no space",
        "error: seed 3: a bug",
        "Interrupted. To resume: ppocli train --resume '/runs/my env/2026-seed0'",
        "Not begun: --seeds 4,5",
    ]


def test_several_seeds_that_have_no_result_yet(screen):
    results.seeds_result(over_seeds("X-v0", [0], {0: seed_result(0)}, at_a_time=1, seconds=1.0, stopped=True))
    assert screen.export_text().splitlines()[-2:] == [
        "trained  in 1.0 s, 1 at a time",
        "next     ppocli report '/runs/my env/2026-seed0'",
    ]
