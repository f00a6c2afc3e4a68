import csv
import json
import subprocess
from pathlib import Path

import pytest

from ppocli.envs.episodes import Episode
from ppocli.errors import RunError
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Progress
from ppocli.records.info import Resumed, RunInfo, Solved
from ppocli.records.logs import LoggedEpisode, Metrics
from ppocli.records.run import Run, new_run
from ppocli.records.writer import RunWriter
from tests.records.runs import CONFIG, columns_of, create, metrics


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def episode(seed):
    return Episode(4, seed, 7.5, 3, True, False, 64)


@pytest.fixture
def writer(tmp_path):
    writer = RunWriter(new_run(tmp_path, CONFIG))
    writer.create(CONFIG, RunInfo())
    yield writer
    writer.close()


def test_never_an_existing_directory(tmp_path):
    # chosen before any is made, as by runs that start at the same moment
    writers = [RunWriter(Run(tmp_path / "Some-Thing-v1" / "now-seed3")) for _ in range(3)]
    for writer in writers:
        writer.create(CONFIG, RunInfo())
        writer.close()
    assert [writer.run.path.name for writer in writers] == ["now-seed3", "now-seed3-2", "now-seed3-3"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(RunError, match=r"runs/Some-Thing-v1/.*cannot make this folder .*another --runs-dir"):
        create(tmp_path / "runs")


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
    info = json.loads((run.path / "run.json").read_text())
    assert set(info) == {
        *("started", "ended", "command", "config_name", "overrides", "name", "target_return", "stop_when_solved"),
        *("state", "solved", "error", "git_commit", "versions", "machine", "resumed"),
        *("imports", "workers", "ended_by", "begun_from", "masks_actions", "observations"),
        "began_with_env_steps",
    }
    assert info["began_with_env_steps"] == CONFIG.train.env_steps == 500_000
    assert (info["state"], info["solved"], info["versions"]) == ("running", None, {"torch": "2"})
    assert info["started"].startswith("20")
    assert info["started"].endswith("+00:00")
    assert rows(run.path / "metrics.csv") == [columns_of(Metrics)]
    assert rows(run.path / "episodes.csv") == [[*columns_of(LoggedEpisode), "info.is_success"]]


def test_a_run_can_be_read_before_its_first_iteration_is_over(writer):
    assert (writer.run.metrics(), writer.run.episodes()) == ([], [])


def test_the_commit_is_that_of_the_checkout(tmp_path):
    checkout = Path(__file__).parents[2]
    head = None
    if (checkout / ".git").exists():
        command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
        head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    commit = create(tmp_path).info.git_commit
    assert (commit and commit.removesuffix("-dirty")) == head


def test_logs(writer):
    for number in range(2):
        writer.log(metrics(seconds=2.5, return_mean=None), [episode(99 + number)], seconds=2.0)
    folder = writer.run.path
    assert rows(folder / "metrics.csv")[1][:9] == ["1", "1", "2.5", "1", "1", "1", "1", "1", ""]
    assert rows(folder / "episodes.csv")[1:] == [
        ["1", "64", "2.0", "4", "99", "7.5", "3", "True", "False", ""],
        ["2", "64", "2.0", "4", "100", "7.5", "3", "True", "False", ""],
    ]
    assert writer.sync() == {
        "metrics_bytes": (folder / "metrics.csv").stat().st_size,
        "episodes_bytes": (folder / "episodes.csv").stat().st_size,
    }


def test_a_run_writes_nothing_before_it_is_created(tmp_path):
    RunWriter(Run(tmp_path / "x")).close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_last_becomes_previous(writer):
    def save(*names, iterations):
        writer.save(names, CONFIG, Progress(iterations=iterations), {"torch": "2"}, {})

    def saved():
        names = [name for name in ("best", "last", "previous") if writer.run.checkpoint(name).exists()]
        return {name: checkpoint.load(writer.run.checkpoint(name)).progress.iterations for name in names}

    save("best", "last", iterations=1)
    assert saved() == {"best": 1, "last": 1}
    save("last", iterations=2)
    assert saved() == {"best": 1, "last": 2, "previous": 1}
    save("best", iterations=3)
    assert saved() == {"best": 3, "last": 2, "previous": 1}
    save("best", "last", iterations=4)
    assert saved() == {"best": 4, "last": 4, "previous": 2}


def test_a_resumed_run_continues_its_logs_where_its_checkpoint_knows_them(writer):
    writer.log(metrics(iteration=1), [episode(1), episode(2)], seconds=1.0)
    progress = Progress(**writer.sync(), iterations=1, env_steps=64, episodes=2)
    writer.log(metrics(iteration=2), [episode(3)], seconds=2.0)  # of which no checkpoint knows
    writer.close()
    run = writer.run
    (run.path / "checkpoints" / ".last.safetensors.0123.tmp").touch()
    again = RunWriter(run)
    resumed = Resumed(overrides=["env.workers=2"], stop_when_solved=True)
    again.resume(CONFIG.changed("env", workers=2), progress, resumed, 9.0)
    again.log(metrics(iteration=7), [episode(4)], seconds=3.0)
    again.close()
    assert [row.iteration for row in run.metrics()] == [1, 7]
    assert [(row.episode, row.seed) for row in run.episodes()] == [(1, 1), (2, 2), (3, 4)]
    assert run.config == CONFIG.changed("env", workers=2)
    assert (run.info.state, run.info.stop_when_solved) == ("running", True)
    (resumed,) = run.info.resumed
    assert (resumed.env_steps, resumed.overrides, resumed.exact) == (64, ["env.workers=2"], True)
    assert resumed.at.endswith("+00:00")
    assert list((run.path / "checkpoints").iterdir()) == []
    again = RunWriter(run)
    again.resume(CONFIG, progress, Resumed(exact=False), None)
    again.close()
    assert [resumed.exact for resumed in run.info.resumed] == [True, False]


@pytest.mark.parametrize("solved", [False, True])
def test_a_run_that_is_resumed_from_before_it_was_solved_is_not_solved(writer, solved):
    writer.record(solved=Solved(env_steps=64, seconds=1.0, return_mean=5.0))
    progress = Progress(**writer.sync(), solved_at_env_steps=64 if solved else None)
    writer.close()
    again = RunWriter(Run(writer.run.path))
    again.resume(CONFIG, progress, Resumed(), 9.0)
    again.close()
    assert (again.run.info.solved is not None) == solved
