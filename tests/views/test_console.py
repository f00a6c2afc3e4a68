"""The tables of results, drawn into a string."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ppocli.records.catalog import RunSummary
from ppocli.views import console


@pytest.fixture
def screen(monkeypatch):
    """A terminal of 80 columns in place of stdout."""
    terminal = console._Console(width=80, record=True, file=io.StringIO())
    monkeypatch.setattr(console, "_out", terminal)
    return terminal


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
    console.runs([summary(), summary(state="failed", solved=False, best_return=None, env_steps=999, started="?")])
    header, _, first, second = screen.export_text().splitlines()
    assert header.split() == ["env", "run", "state", "steps", "best", "solved", "when"]
    assert first.split() == [
        *("LunarLander-v3", "20260101T000000Z-seed3", "interrupted", "98k", "231.3", "91k", "3", "h"),
    ]
    assert second.split()[2:] == ["failed", "999", "-", "no", "-"]
    assert len(first) <= 80


def test_a_narrow_terminal_still_tells_which_run_is_which(monkeypatch):
    terminal = console._Console(width=60, record=True, file=io.StringIO())
    monkeypatch.setattr(console, "_out", terminal)
    console.runs([summary()])
    text = terminal.export_text()
    assert "LunarL" in text
    assert "20260101" in text


def test_a_name_stays_whole_and_what_it_is_of_makes_room(screen):
    console.runs([summary(env_id="MountainCarContinuous-v0", best_return=-1234.5)])
    *_, row, rest = screen.export_text().splitlines()
    assert row.split()[1:4] == ["20260101T000000Z-seed3", "interrupted", "98k"]
    assert row.split()[0] + rest.strip() == "MountainCarContinuous-v0"


def test_large_numbers_and_long_times_stay_short(screen):
    old = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    console.runs(
        [summary(env_steps=5_005_312, solved=None, started=old), summary(started=datetime.now(UTC).isoformat())]
    )
    _, _, first, second = screen.export_text().splitlines()
    assert first.split()[3:] == ["5.0M", "231.3", "-", "40", "d"]
    assert second.split()[-1] == "now"


def test_names_from_a_stranger_do_not_steer_the_terminal(screen):
    console.runs([summary(run_dir=Path("x/\x1b[2Jevil"))])
    assert "\x1b[2J" not in screen.export_text()


def run_result(seed, solved, evaluation):
    at = {"solved_at_env_steps": 90_112, "solved_at_seconds": 4.06} if solved else {}
    at["run_dir"] = f"/runs/my env/2026-seed{seed}"
    return {"seed": seed, "solved": solved, "wall_seconds": 12.34, "evaluation": evaluation, **at}


def test_several_seeds_each_and_together(screen):
    evaluation = {"return_mean": 261.44, "return_std": 20.0, "solved_fraction": 0.97}
    together = {
        "runs": [run_result(0, True, evaluation), run_result(12, False, None)],
        "return_mean": 250.0,
        "return_mean_ci95": [240.0, 260.04],
        "return_iqm": 251.0,
        "return_iqm_ci95": None,
        "solved_fraction": 0.5,
        "seeds": [0, 5, 12],
        "seeds_evaluated": 2,
        "solved_at_env_steps_median": 90_112,
        "solved_at_seconds_median": 4.06,
        "wall_seconds": 30.0,
        "at_a_time": 2,
        "figure": "/tmp/x.png",
    }
    console.seeds_result(together)
    text = screen.export_text()
    for row in (
        "│ 0    │ 261.4 ± 20.0 │         97.0% │ 90,112, 4.1 s │    12.3 │",
        "│ 12   │  interrupted │             - │             - │    12.3 │",
        "mean     250.0, 95 % interval over seeds 240.0 to 260.0\n",
        "IQM      251.0\n",
        "solved   50% of the 2 evaluated of 3, medians: after 90,112 env steps, 4.1 s\n",
        "trained  in 30.0 s, 2 at a time\n",
        "figure   /tmp/x.png\n",
        "next     ppocli report '/runs/my env/2026-seed0' '/runs/my env/2026-seed12'\n",
    ):
        assert row in text


def test_several_seeds_that_have_no_result_yet(screen):
    nothing = dict.fromkeys(
        ("return_mean", "return_iqm", "solved_fraction", "solved_at_seconds_median", "figure"), None
    )
    console.seeds_result({"runs": [run_result(0, False, None)], "wall_seconds": 1.0, "at_a_time": 1, **nothing})
    assert screen.export_text().splitlines()[-2:] == [
        "trained  in 1.0 s, 1 at a time",
        "next     ppocli report '/runs/my env/2026-seed0'",
    ]


def test_paths_that_begin_alike_are_one_word_where_nothing_else_begins_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / "my runs" / f"2026-seed{seed}" for seed in (3, 4)]
    for path in paths:
        path.mkdir(parents=True)
    assert console._in_shell(paths) == "'my runs/2026-seed'*"
    (tmp_path / "my runs" / "2026-seed5").mkdir()
    assert console._in_shell(paths) == "'my runs/2026-seed3' 'my runs/2026-seed4'"


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (None, "trained  8,192 env steps in 2.0 s, 1,000 env steps/s"),
        (2048, "trained  6,144 env steps more in 2.0 s; 8,192 in all, 1,000 env steps/s"),
        (8192, "trained  nothing: it has its 8,192 env steps; more with --set train.env_steps=N"),
    ],
)
def test_a_resumed_run_tells_what_it_did_from_what_was_done(screen, before, line):
    result = {
        "run_dir": "/x",
        "env_steps": 8192,
        "resumed_at_env_steps": before,
        "interrupted": False,
        "wall_seconds": 2.0,
    }
    rest = {"env_steps_per_second": 1000.0, "seconds": {}, "best_return": None}
    console.training_result(result | rest, target=None)
    assert line in screen.export_text().splitlines()
    console.training_result(result | rest | {"interrupted": True}, target=None)
    assert "nothing" not in screen.export_text()
