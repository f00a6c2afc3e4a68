import csv
import json

import pytest

from ppocli.config.models import Config
from ppocli.envs.episodes import Episode
from ppocli.errors import RunError, UsageError
from ppocli.records.info import Solved
from ppocli.records.logs import EPISODE_COLUMNS, METRICS_COLUMNS, Metrics
from ppocli.records.run import Run, new_run

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
    assert set(facts) == {
        *("started", "ended", "command", "name", "target_return", "stop_when_solved", "state", "solved", "error"),
        *("git_commit", "versions", "machine", "resumed"),
    }
    assert (facts["state"], facts["solved"], facts["versions"]) == ("running", None, {"torch": "2"})
    assert rows(run.path / "metrics.csv") == [list(METRICS_COLUMNS)]
    assert rows(run.path / "episodes.csv") == [list(EPISODE_COLUMNS)]


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


def test_a_run_writes_nothing_before_it_is_created(tmp_path):
    Run(tmp_path / "x").close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("solved", [False, True])
def test_a_run_that_is_gone_on_with_from_before_it_was_solved_is_not_solved(tmp_path, solved):
    run = new_run(tmp_path, CONFIG)
    run.create(CONFIG, {}, "cpu")
    run.record(solved=Solved(env_steps=64, seconds=1.0, return_mean=5.0))
    lengths = run.sync()
    run.close()
    again = Run(run.path)
    again.resume(CONFIG, **lengths, episodes=0, stop_when_solved=False, solved=solved)
    again.close()
    assert (again.facts.solved is not None) == solved
