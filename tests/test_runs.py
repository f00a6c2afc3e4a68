import csv
import json
import os

import pytest

from ppocli.config import Config
from ppocli.envs.episodes import Episode
from ppocli.errors import RunError, UsageError
from ppocli.runs import EPISODE_COLUMNS, METRICS_COLUMNS, Metrics, PhaseSeconds, Run, find_checkpoint, new_run

CONFIG = Config.model_validate({"env": {"id": "Some/Thing-v1"}, "train": {"seed": 3}})


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def create(folder, name=None):
    run = new_run(folder, CONFIG, name)
    run.create(CONFIG, {"torch": "2"}, "cpu")
    run.close()
    return run


def metrics(**changes):
    return Metrics(**dict.fromkeys(METRICS_COLUMNS, 1) | changes)


def test_names(tmp_path):
    run = new_run(tmp_path, CONFIG, "try")
    assert run.path.parent == tmp_path / "Some-Thing-v1"
    time, seed, name = run.path.name.split("-")
    assert (len(time), seed, name) == (len("20260102T030405Z"), "seed3", "try")
    assert not run.path.parent.exists()


def test_never_an_existing_directory(tmp_path):
    # chosen before any is made, as by runs that start at the same moment
    runs = [Run(tmp_path / "Some-Thing-v1" / "now-seed3") for _ in range(3)]
    for run in runs:
        run.create(CONFIG, {}, "cpu")
        run.close()
    assert [run.path.name for run in runs] == ["now-seed3", "now-seed3-2", "now-seed3-3"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(RunError, match=r"runs/Some-Thing-v1/.*cannot make this folder .*another --runs-dir"):
        create(tmp_path / "runs")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", "x\n"])
def test_names_that_could_lead_elsewhere(tmp_path, name):
    with pytest.raises(UsageError, match="--name"):
        new_run(tmp_path, CONFIG, name)


def test_what_a_run_is_created_with(tmp_path):
    run = create(tmp_path)
    assert {path.name for path in run.path.iterdir()} == {
        ".lock",
        "checkpoints",
        "config.yaml",
        "episodes.csv",
        "metrics.csv",
        "run.json",
    }
    facts = json.loads((run.path / "run.json").read_text())
    assert set(facts) == {"started", "command", "stop_when_solved", "git_commit", "versions", "machine"}
    assert rows(run.path / "metrics.csv") == [list(METRICS_COLUMNS)]
    assert rows(run.path / "episodes.csv") == [list(EPISODE_COLUMNS)]


def test_columns_are_the_contracts():
    assert ",".join(METRICS_COLUMNS) == (
        "iteration,env_steps,seconds,env_steps_per_second,rollout_seconds,update_seconds,evaluation_seconds,episodes,"
        "return_mean,return_min,return_max,length_mean,policy_loss,value_loss,entropy,approx_kl,clip_fraction,"
        "explained_variance,gradient_norm,learning_rate,eval_return_mean"
    )
    assert ",".join(EPISODE_COLUMNS) == (
        "episode,env_steps,seconds,environment,seed,episode_return,episode_length,terminated,truncated"
    )


def test_logs(tmp_path):
    run = new_run(tmp_path, CONFIG)
    run.create(CONFIG, {}, "cpu")
    for number in range(2):
        episode = Episode(4, 99 + number, 7.5, 3, True, False, 64)
        run.log(metrics(seconds=2.5, return_mean=None), [episode], seconds=2.0)
    assert rows(run.path / "metrics.csv")[1][:9] == ["1", "1", "2.5", "1", "1", "1", "1", "1", ""]
    assert rows(run.path / "episodes.csv")[1:] == [
        ["1", "64", "2.0", "4", "99", "7.5", "3", "True", "False"],
        ["2", "64", "2.0", "4", "100", "7.5", "3", "True", "False"],
    ]
    run.close()


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


def test_latest_is_the_newest_training_run(tmp_path):
    with pytest.raises(RunError, match="no training run under"):
        find_checkpoint("latest", tmp_path)
    first, second = create(tmp_path), create(tmp_path)
    os.utime(first.path / "run.json", ns=(1, 1))
    for run in (first, second):
        run.checkpoint("best").touch()
    assert find_checkpoint("latest", tmp_path)[1].path == second.path
    # a random baseline is no training run
    (tmp_path / "Some-Thing-v1" / "random-baseline").mkdir()
    assert find_checkpoint("latest", tmp_path)[1].path == second.path


def test_missing(tmp_path):
    with pytest.raises(RunError, match="no such run or checkpoint"):
        find_checkpoint(str(tmp_path / "nothing"), tmp_path)


def test_a_run_writes_nothing_before_it_is_created(tmp_path):
    Run(tmp_path / "x").close()
    assert list(tmp_path.iterdir()) == []


def test_where_the_time_went():
    shares = {"rollout_seconds": 1.0, "update_seconds": 0.5, "evaluation_seconds": 0.25}
    history = [metrics(seconds=3.75, **shares), metrics(seconds=5.5, **shares)]
    phases = PhaseSeconds()
    for row in history:
        phases.add(row)
    assert phases.shares(wall_seconds=6.0) == {
        "start_up": 2.0,
        "rollout": 2.0,
        "update": 1.0,
        "evaluation": 0.5,
        "other": 0.5,
    }
