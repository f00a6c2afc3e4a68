"""Several seeds at once: each is the run that it would be alone."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from ppocli.config.models import Config
from ppocli.errors import UsageError
from ppocli.records import checkpoint
from ppocli.records.run import Run
from ppocli.training import seeds as ensemble
from ppocli.training.loop import train
from ppocli.training.seeds import Failure, Standing, over_seeds, parse_seeds, share_out, train_seeds
from tests.endings import assert_same_ending

TINY = Config.model_validate(
    {
        "env": {"id": "CartPole-v1", "num_envs": 2},
        "network": {"hidden_sizes": [4]},
        "ppo": {"horizon": 16, "minibatch_size": 16},
        "train": {"env_steps": 96, "eval_episodes": 1},
    }
)
ENDLESS = TINY.model_copy(update={"train": TINY.train.model_copy(update={"env_steps": 10**12})})


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", [0, 1, 2, 3, 4]), ("0,3,7", [0, 3, 7]), ("5", [5]), ("7, 1-2", [7, 1, 2]), ("4294967295", [2**32 - 1])],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-0", "-1", "0,", "0--3", "0-1000", "0-999,1000-1999", "4294967296", "1.5"])
def test_what_names_no_seeds(text):
    with pytest.raises(UsageError, match="write them as 0-4 or as 0,3,7"):
        parse_seeds(text)


def test_a_seed_that_stands_there_twice():
    with pytest.raises(UsageError, match="stands there twice"):
        parse_seeds("0-3,2")


@pytest.mark.parametrize(
    ("cores", "workers", "seeds", "jobs", "expected"),
    [
        (2, "auto", 5, None, (2, 0)),  # a core for each
        (8, "auto", 2, None, (2, 1)),  # 16 environments are enough for a worker, and no more, for each
        (8, "auto", 5, 3, (3, 1)),
        (2, "auto", 5, 1, (1, "auto")),  # one after the other, each as it would be alone
        (2, "auto", 1, None, (1, "auto")),
        (8, 3, 5, None, (2, 3)),
        (2, 3, 5, None, (1, 3)),
    ],
)
def test_cores_are_shared_out(monkeypatch, cores, workers, seeds, jobs, expected):
    monkeypatch.setattr(ensemble, "available_cores", lambda: cores)
    monkeypatch.setattr("ppocli.envs.workers.available_cores", lambda: cores)
    config = Config.model_validate({"env": {"id": "LunarLander-v3", "num_envs": 16, "workers": workers}})
    at_a_time, shared = share_out(config, seeds, jobs)
    assert (at_a_time, shared.env.workers) == expected


def runs_for(folder, seeds, config=TINY):
    return [(config.with_seed(seed), Run(folder / f"seed{seed}")) for seed in seeds]


def test_each_seed_is_the_run_that_it_would_be_alone(tmp_path):
    (tmp_path / "alone").mkdir()
    messages = list(train_seeds(runs_for(tmp_path, [0, 7]), jobs=2))
    for seed in (0, 7):
        *standings, result = [message for number, message in messages if number == seed]
        assert [standing.env_steps for standing in standings] == [32, 64, 96]
        alone = Run(tmp_path / "alone" / f"seed{seed}")
        list(train(TINY.with_seed(seed), alone))
        run = Run(Path(result["run_dir"]))
        assert_same_ending(run, alone)
        assert (result["seed"], result["env_steps"], result["interrupted"]) == (seed, 96, False)
        evaluation = json.loads(run.evaluation.read_text())
        assert evaluation["return_mean"] == result["evaluation"]["return_mean"]
        assert len(evaluation["episode_returns"]) == 100


def test_one_after_the_other_and_stopped(tmp_path):
    stopped = []
    messages = []
    runs = runs_for(tmp_path, [0, 1, 2], ENDLESS)
    for message in train_seeds(runs, jobs=1, should_stop=lambda: bool(stopped)):
        messages.append(message)
        stopped.append(True)
    assert {number for number, _ in messages} == {0}  # the others have never begun
    *standings, result = [message for _, message in messages]
    assert standings
    assert (result["interrupted"], result["evaluation"]) == (True, None)
    run = Run(Path(result["run_dir"]))
    assert run.facts.state == "interrupted"
    assert checkpoint.load(run.checkpoint("last")).progress.env_steps == result["env_steps"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed0"]


def test_the_death_of_one_ends_nobody_else_and_what_is_misuse_for_one_is_for_the_others(tmp_path):
    unknown = TINY.model_copy(update={"env": TINY.env.model_copy(update={"id": "Unknown-v0"})})
    runs = [*runs_for(tmp_path, [0], ENDLESS), *runs_for(tmp_path, [2]), *runs_for(tmp_path, [1, 3], unknown)]
    last = {}
    others = multiprocessing.active_children()  # of other tests
    for number, message in train_seeds(runs, jobs=1):
        last[number] = message
        if number == 0 and isinstance(message, Standing):
            (child,) = set(multiprocessing.active_children()) - set(others)
            child.kill()
    assert last[0] == Failure("its process was killed by signal 9 (SIGKILL)")
    assert last[1].exit_code == 2
    assert "Unknown-v0" in last[1].message
    assert last[2]["env_steps"] == 96
    assert 3 not in last


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_children_whose_parent_was_killed_save_and_end(tmp_path):
    sets = ["--set", "env.num_envs=2", "--set", "ppo.horizon=16", "--set", "ppo.minibatch_size=16"]
    command = [sys.executable, "-m", "ppocli", "train", "--config", "cartpole", *sets, "--set", "train.env_steps=1e12"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    parent = subprocess.Popen(
        [*command, "--seeds", "3,4"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    begun = set()
    while len(begun) < 2:
        begun.add(parent.stderr.readline().split()[1])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stderr.close()
    folders = [path.parent for path in tmp_path.rglob("run.json")]
    assert len(folders) == 2
    for folder in folders:
        with FileLock(folder / ".lock", timeout=60):  # waits for its trainer's end
            assert Run(folder).facts.state == "interrupted"
            checkpoint.load(Run(folder).checkpoint("last"))


def result_of(return_mean, solved_at=None, target=200.0):
    evaluation = None if return_mean is None else {"return_mean": return_mean, "target_return": target}
    at = {"solved_at_env_steps": solved_at, "solved_at_seconds": solved_at and solved_at / 1000}
    return {"evaluation": evaluation, "solved": solved_at is not None, **at}


def test_statistics_over_seeds():
    results = [result_of(210.0, 1000), result_of(250.0, 3000), result_of(10.0), result_of(230.0, 7000), result_of(None)]
    together = over_seeds(results)
    assert together["seeds_evaluated"] == 4
    assert together["return_mean"] == pytest.approx((210 + 250 + 10 + 230) / 4)
    assert together["return_iqm"] == pytest.approx((210 + 230) / 2)  # of four, the lowest and the highest are left out
    low, high = together["return_mean_ci95"]
    assert 10 <= low < together["return_mean"] < high <= 250
    assert together["solved_fraction"] == 0.75
    assert (together["solved_at_env_steps_median"], together["solved_at_seconds_median"]) == (3000, 3.0)


def test_statistics_over_one_seed_or_none():
    alone = over_seeds([result_of(-150.0, target=None)])
    assert (alone["return_mean"], alone["return_mean_ci95"], alone["solved_fraction"]) == (-150.0, None, None)
    nothing = over_seeds([result_of(None)])
    assert {key: nothing[key] for key in ("return_mean", "return_iqm_ci95", "solved_fraction")} == {
        "return_mean": None,
        "return_iqm_ci95": None,
        "solved_fraction": None,
    }
