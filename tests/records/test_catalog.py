import json
import os
from dataclasses import astuple, replace

import pytest

from ppocli.config.models import Config
from ppocli.errors import PpocliError, RunError
from ppocli.records.catalog import (
    RunSummary,
    all_runs,
    common_folder,
    find_checkpoint,
    find_run,
    find_runs,
    run_names,
    sort_summaries,
    summarize_run,
)
from ppocli.records.info import RunInfo, Solved
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from tests.records.runs import create, metrics


def run_at(folder, name, started, env="CartPole-v1"):
    """A finished run, as far as others see it."""
    run = Run(folder / env / name)
    (run.path / "checkpoints").mkdir(parents=True)
    (run.path / "run.json").write_text(json.dumps({"started": started}))
    run.checkpoint("best").touch()
    return run


@pytest.fixture
def runs(tmp_path):
    return [
        run_at(tmp_path, "20260101T000000Z-seed0", "2026-01-01T00:00:00+00:00"),
        run_at(tmp_path, "20260102T000000Z-seed0", "2026-01-02T00:00:00+00:00", env="LunarLander-v3"),
        run_at(tmp_path, "renamed", "2025-12-31T00:00:00+00:00"),
    ]


def test_a_run_means_its_best_checkpoint(tmp_path):
    run = create(tmp_path)
    with pytest.raises(RunError, match="no checkpoint in it"):
        find_checkpoint(str(run.path), tmp_path)
    for name in ("previous", "last", "best"):
        run.checkpoint(name).touch()
        path, found = find_checkpoint(str(run.path), tmp_path)
        assert (path, found.path) == (run.checkpoint(name), run.path)
    assert find_checkpoint(str(run.path / "checkpoints"), tmp_path)[1].path == run.path


def test_a_checkpoint_knows_its_run(tmp_path):
    run = create(tmp_path)
    run.checkpoint("last").touch()
    path, found = find_checkpoint(str(run.checkpoint("last")), tmp_path)
    assert (path, found.path) == (run.checkpoint("last"), run.path)
    stray = tmp_path / "stray.safetensors"
    stray.touch()
    assert find_checkpoint(str(stray), tmp_path) == (stray, None)


def test_latest_is_the_run_that_began_last_whatever_it_is_called(runs, tmp_path):
    assert [run.path for run in all_runs(tmp_path)] == [runs[2].path, runs[0].path, runs[1].path]
    assert find_run("latest", tmp_path).path == runs[1].path
    # a random baseline is no training run
    (tmp_path / "CartPole-v1" / "random-baseline").mkdir()
    (tmp_path / "CartPole-v1" / "random-baseline" / "run.json").write_text('{"started": "2027"}')
    assert find_checkpoint("latest", tmp_path)[1].path == runs[1].path
    with pytest.raises(RunError, match="latest: no training run under"):
        find_run("latest", tmp_path / "nowhere")


def test_of_runs_that_began_in_the_same_second_the_one_that_gave_way_is_the_latest(tmp_path):
    first = run_at(tmp_path, "20260101T000000Z-seed0", "2026")
    second = run_at(tmp_path, "20260101T000000Z-seed0-2", "2026")
    assert [run.path for run in all_runs(tmp_path)] == [first.path, second.path]


@pytest.mark.parametrize(
    ("beginning", "index"),
    [
        ("20260101", 0),
        ("CartPole-v1/2026", 0),
        ("Lunar", 1),
        ("LunarLander-v3/20260102T000000Z-seed0", 1),
        ("ren", 2),
    ],
)
def test_the_beginning_of_a_name_is_enough(runs, tmp_path, beginning, index):
    assert find_run(beginning, tmp_path).path == runs[index].path
    path, run = find_checkpoint(beginning, tmp_path)
    assert (path, run.path) == (runs[index].checkpoint("best"), runs[index].path)


def test_a_whole_name_is_meant_by_itself_even_if_another_begins_so(tmp_path):
    first, tenth = (run_at(tmp_path, f"20260101T000000Z-seed{seed}", "2026") for seed in (1, 10))
    for target in ("20260101T000000Z-seed1", "CartPole-v1/20260101T000000Z-seed1"):
        assert find_run(target, tmp_path).path == first.path
    assert find_run("20260101T000000Z-seed10", tmp_path).path == tenth.path
    with pytest.raises(RunError, match="RUN is empty"):
        find_run("", tmp_path)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("2026", "2026: 2 runs begin so, among them .*CartPole-v1/20260101T000000Z-seed0.*; write more of its name"),
        ("CartPole-v1", "2 runs begin so"),
        ("named", "named: no such run or checkpoint, did you mean renamed"),
        ("lastest", "no such run or checkpoint, did you mean latest?"),
        ("20260103T000000Z-seed0", "no such run or checkpoint, did you mean 2026010"),
        ("nothing.safetensors", "no such run or checkpoint; RUN is a run directory, the beginning of a run's name"),
    ],
)
def test_names_that_mean_no_run_or_several(runs, tmp_path, target, message):
    with pytest.raises(RunError, match=message):
        find_run(target, tmp_path)
    with pytest.raises(RunError, match=message):
        find_checkpoint(target, tmp_path)


def test_a_directory_that_is_no_run(tmp_path):
    with pytest.raises(RunError, match="no training run; RUN is a directory that `ppocli train` made"):
        find_run(str(tmp_path), tmp_path)


def test_several_are_each_meant_once_and_without_what_lies_beside_them(runs, tmp_path, monkeypatch):
    folder = tmp_path / "CartPole-v1"
    for name in ("plots", "random-baseline"):
        (folder / name).mkdir()
    (folder / "report.html").touch()
    monkeypatch.chdir(folder.parent)
    found = find_runs([*map(str, sorted(folder.iterdir())), "ren", "CartPole-v1/plots/../renamed"], tmp_path)
    assert [run.path.resolve() for run in found] == [runs[0].path, runs[2].path]
    with pytest.raises(RunError, match="plots: no training run"):
        find_runs([str(folder / "plots")], tmp_path)
    (folder / "other").mkdir()  # what ppocli did not put there is the user's mistake
    with pytest.raises(RunError, match="other: no training run"):
        find_runs([str(folder / "renamed"), str(folder / "other")], tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only where there are named pipes")
@pytest.mark.parametrize("name", ["run.json", "config.yaml", "metrics.csv"])
def test_what_may_never_end_is_not_read(tmp_path, name):
    run = create(tmp_path)
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    with pytest.raises(RunError, match=f"{name}: not a file"):
        summarize_run(run)
    assert [found.path for found in all_runs(run.path.parents[1])] == [run.path]


def test_the_innermost_folder_of_some_runs(runs, tmp_path):
    assert common_folder([runs[0], runs[2]]) == tmp_path / "CartPole-v1"
    assert common_folder(runs) == tmp_path


CONFIG = Config.model_validate({"env": {"id": "CartPole-v1"}, "train": {"seed": 7, "env_steps": 2048 * 3}})


@pytest.fixture
def trained(tmp_path):
    """Makes a run that has logged an iteration for each of `evaluations`, and has neither ended nor been closed."""
    writers = []

    def trained(*evaluations, target=475.0, stop_when_solved=False, command=()):
        writer = RunWriter(Run(tmp_path / "run"))
        writers.append(writer)
        known = {"stop_when_solved": stop_when_solved, "command": list(command)}
        writer.create(CONFIG, RunInfo(name="try", target_return=target, **known))
        for number, evaluation in enumerate(evaluations, start=1):
            row = metrics(iteration=number, env_steps=2048 * number, seconds=1.0, eval_return_mean=evaluation)
            writer.log(row, [], seconds=1.0)
        return writer

    yield trained
    for writer in writers:
        writer.close()


def test_how_a_run_stands(trained):
    writer = trained(100.0, None, 90.5)
    summary = summarize_run(writer.run)
    assert summary.started.startswith("20")
    assert astuple(replace(summary, started="")) == (
        writer.run.path, "CartPole-v1", "try", 7, "running", 6144, 6144, 100.0, False, None, "", None, None, "", None,
    )  # fmt: skip
    writer.record(solved=Solved(env_steps=4096, seconds=3.0, return_mean=480.0))
    writer.end("env_steps", error=None)
    writer.close()
    summary = summarize_run(writer.run)
    assert (summary.state, summary.solved, summary.solved_at_env_steps) == ("finished", True, 4096)
    assert summary.best_return == 100.0


def test_a_run_that_was_killed_is_interrupted(trained):
    writer = trained()
    writer.close()  # as its process's end does
    summary = summarize_run(writer.run)
    assert (summary.state, summary.env_steps, summary.best_return) == ("interrupted", 0, None)


@pytest.mark.parametrize(
    ("finished", "error", "state"),
    [(False, None, "interrupted"), (True, None, "finished"), (False, ValueError("no\nnumber"), "failed")],
)
def test_how_a_run_has_ended(trained, finished, error, state):
    writer = trained(target=None)
    writer.end("solved" * finished, error)
    writer.close()
    summary = summarize_run(writer.run)
    assert (summary.state, summary.error) == (state, "no number" if error else None)
    assert summary.solved is None  # there is no target


def test_the_best_agent_of_a_run_that_stops_when_solved_is_the_one_that_solved(trained):
    writer = trained(490.0, None, stop_when_solved=True)
    assert summarize_run(writer.run).best_return == 490.0
    writer.record(solved=Solved(env_steps=4096, seconds=3.0, return_mean=480.0))
    assert summarize_run(writer.run).best_return == 480.0


def test_a_run_that_stopped_when_solved_and_was_prolonged_goes_on_from_what_its_solver_returned(trained):
    """As training does: what was evaluated before is forgotten, and what comes after has to be better."""
    command = ["ppocli", "train", "--config", "cartpole", "--stop-when-solved"]
    writer = trained(490.0, None, 470.0, command=command)  # prolonging a run takes `stop_when_solved` from it
    writer.record(solved=Solved(env_steps=4096, seconds=3.0, return_mean=480.0))
    assert summarize_run(writer.run).best_return == 480.0
    writer.log(metrics(iteration=4, env_steps=8192, seconds=1.0, eval_return_mean=485.0), [], seconds=1.0)
    assert summarize_run(writer.run).best_return == 485.0
    keep_evaluation(writer.run, 481.0, env_steps=8192)
    assert summarize_run(writer.run).evaluated_return == 481.0


def keep_evaluation(run, *returns, env_steps, deterministic=True):
    more = {"episode_seeds": [0] * len(returns), "random_episode_returns": [1.0]}
    known = {"deterministic": deterministic, "checkpoint_env_steps": env_steps, "episode_returns": returns}
    run.evaluation.write_text(json.dumps(known | more))


def test_what_the_best_agent_was_evaluated_at_is_known(trained):
    run = trained(100.0, None, 90.5, 100.0).run  # of equal ones the later is the best
    assert summarize_run(run).evaluated_return is None
    keep_evaluation(run, 60.0, 90.0, env_steps=4 * 2048)
    summary = summarize_run(run)
    assert (summary.best_return, summary.evaluated_return) == (100.0, 75.0)
    keep_evaluation(run, 60.0, 90.0, env_steps=2048)  # of an agent that is the best no more
    assert summarize_run(run).evaluated_return is None
    keep_evaluation(run, 60.0, 90.0, env_steps=4 * 2048, deterministic=False)
    assert summarize_run(run).evaluated_return is None
    keep_evaluation(run, env_steps=4 * 2048)
    assert summarize_run(run).evaluated_return is None


def test_before_the_first_evaluation_a_run_stands_for_its_last_agent(trained):
    run = trained(None, None).run
    keep_evaluation(run, 30.0, env_steps=4096)
    summary = summarize_run(run)
    assert (summary.best_return, summary.evaluated_return) == (None, 30.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.json", "[]"),
        ("run.json", '{"solved": 3, "state": "finished"}'),
        ("run.json", '{"state": ["x"], "name": 7}'),
        ("metrics.csv", "iteration\r\n1\r\n"),
        ("config.yaml", "env: 3"),
    ],
)
def test_a_damaged_run_is_named(trained, name, text):
    writer = trained()
    writer.close()
    (writer.run.path / name).write_text(text)
    with pytest.raises(PpocliError, match=name):
        summarize_run(writer.run)


def test_the_names_of_runs(runs, tmp_path):
    assert list(run_names(tmp_path)) == [
        *("renamed", "CartPole-v1/renamed"),
        *("20260101T000000Z-seed0", "CartPole-v1/20260101T000000Z-seed0"),
        *("20260102T000000Z-seed0", "LunarLander-v3/20260102T000000Z-seed0"),
    ]


@pytest.mark.parametrize(
    ("by", "expected"), [("started", "cba"), ("env", "bac"), ("seed", "bca"), ("steps", "acb"), ("return", "bca")]
)
def test_the_orders_of_runs(tmp_path, by, expected):
    rows = {"a": ("A", 2, 30, None, "1"), "b": ("A", 0, 10, 5.0, "2"), "c": ("B", 1, 20, -5.0, "3")}
    summaries = [
        RunSummary(tmp_path / name, env_id, None, seed, "finished", steps, 99, best, None, None, started, None)
        for name, (env_id, seed, steps, best, started) in rows.items()
    ]
    assert "".join(summary.run_dir.name for summary in sort_summaries(summaries, by)) == expected


def test_runs_are_sorted_by_what_is_shown_of_them(tmp_path):
    def summary(name, best, evaluated):
        known = (tmp_path / name, "A", None, 0, "finished", 9, 9, best, None, None, "1", None, evaluated)
        return RunSummary(*known)

    found = [summary("a", 300.0, 200.0), summary("b", 250.0, None), summary("c", None, 260.0), summary("d", None, None)]
    assert "".join(one.run_dir.name for one in sort_summaries(found, "return")) == "cbad"
