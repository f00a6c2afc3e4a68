"""Several seeds at once: each is the run that it would be alone."""

import json
import multiprocessing
import signal
import subprocess
import sys
import warnings
from dataclasses import fields

import pytest
from filelock import FileLock

from ppocli.config.models import Config
from ppocli.errors import PpocliWarning, UsageError
from ppocli.evaluation.statistics import AgentResult
from ppocli.records import checkpoint
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.training.job import Job
from ppocli.training.outcome import Iteration
from ppocli.training.seeds import Failure, SeedResult, _sending, over_seeds, parse_seeds, share_out, train_seeds
from tests.cli.commands import PATIENCE_SECONDS, patience
from tests.endings import assert_same_ending
from tests.jobs import train

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
        (2, "auto", 5, 1, (1, None)),  # one after the other, each as it would be alone
        (2, "auto", 1, None, (1, None)),
        (8, 3, 5, None, (2, None)),
        (2, 3, 5, None, (1, None)),
    ],
)
def test_cores_are_shared_out(monkeypatch, cores, workers, seeds, jobs, expected):
    monkeypatch.setattr("ppocli.training.seeds.usable_cores", lambda: cores)
    monkeypatch.setattr("ppocli.envs.make.usable_cores", lambda: cores)
    config = Config.model_validate({"env": {"id": "LunarLander-v3", "num_envs": 16, "workers": workers}})
    assert share_out(config, seeds, jobs) == expected


def test_of_a_simulator_of_which_there_is_one_seeds_take_turns(monkeypatch):
    monkeypatch.setattr("ppocli.training.seeds.usable_cores", lambda: 8)
    config = Config.model_validate({"env": {"id": "CartPole-v1", "num_envs": 1, "single_instance": True}})
    assert share_out(config, 5, 3) == (1, None)


def jobs_for(folder, seeds, config=TINY):
    return [Job(config.changed("train", seed=seed), RunWriter(Run(folder / f"seed{seed}"))) for seed in seeds]


def test_each_seed_is_the_run_that_it_would_be_alone(tmp_path):
    (tmp_path / "alone").mkdir()
    messages = list(train_seeds(jobs_for(tmp_path, [0, 7]), at_a_time=2))
    for seed in (0, 7):
        *iterations, result = [message for number, message in messages if number == seed]
        assert [iteration.metrics.env_steps for iteration in iterations] == [32, 64, 96]
        assert {iteration.episodes for iteration in iterations} == {()}  # which would be sent for nothing
        alone = Run(tmp_path / "alone" / f"seed{seed}")
        list(train(TINY.changed("train", seed=seed), alone))
        run = Run(result.run_dir)
        assert_same_ending(run, alone)
        assert (result.seed, result.env_steps, result.interrupted) == (seed, 96, False)
        evaluation = json.loads(run.evaluation.read_text())
        assert evaluation["return_mean"] == result.evaluation.return_mean
        assert len(evaluation["episode_returns"]) == 100


def test_one_after_the_other_and_stopped(tmp_path):
    stopped = []
    messages = []
    runs = jobs_for(tmp_path, [0, 1, 2], ENDLESS)
    for message in train_seeds(runs, at_a_time=1, should_stop=lambda: bool(stopped)):
        messages.append(message)
        stopped.append(True)
    assert {number for number, _ in messages} == {0}  # the others have never begun
    *iterations, result = [message for _, message in messages]
    assert iterations
    assert (result.interrupted, result.evaluation) == (True, None)
    run = Run(result.run_dir)
    assert run.info.state == "interrupted"
    assert checkpoint.load(run.checkpoint("last")).progress.env_steps == result.env_steps
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed0"]


def test_a_seed_that_is_stopped_while_it_is_evaluated_takes_that_iteration_back(tmp_path):
    """The second iteration is followed by more episodes than anybody would wait for."""
    train = ENDLESS.train.model_copy(update={"eval_interval": 64, "eval_episodes": 10_000})
    jobs = jobs_for(tmp_path, [0], ENDLESS.model_copy(update={"train": train}))
    messages = []
    for message in train_seeds(jobs, at_a_time=1, should_stop=lambda: bool(messages)):
        messages.append(message)
    (_, iteration), (_, result) = messages
    assert (iteration.metrics.env_steps, result.env_steps, result.interrupted) == (32, 32, True)


@pytest.mark.slow
def test_the_death_of_one_ends_nobody_else_and_what_is_misuse_for_one_is_for_the_others(tmp_path):
    unknown = TINY.model_copy(update={"env": TINY.env.model_copy(update={"id": "Unknown-v0"})})
    runs = [*jobs_for(tmp_path, [0], ENDLESS), *jobs_for(tmp_path, [2]), *jobs_for(tmp_path, [1, 3], unknown)]
    last = {}
    others = multiprocessing.active_children()  # of other tests
    for number, message in train_seeds(runs, at_a_time=1):
        last[number] = message
        if number == 0 and isinstance(message, Iteration):
            (child,) = set(multiprocessing.active_children()) - set(others)
            child.kill()
    assert last[0] == Failure("its process died: killed by signal 9 (SIGKILL), perhaps for want of memory")
    assert last[1].exit_code == 2
    assert "Unknown-v0" in last[1].message
    assert last[2].env_steps == 96
    assert 3 not in last


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_children_whose_parent_was_killed_save_and_end(tmp_path):
    sets = ["--set", "env.num_envs=2", "--set", "ppo.horizon=16", "--set", "ppo.minibatch_size=16"]
    command = [sys.executable, "-m", "ppocli", "train", "--config", "cartpole", *sets, "--set", "train.env_steps=1e12"]
    parent = subprocess.Popen([*command, "--seeds", "3,4"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    begun = set()
    with patience(parent):
        while len(begun) < 2:
            begun.add(parent.stderr.readline().split()[1])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stderr.close()
    folders = [path.parent for path in tmp_path.rglob("run.json")]
    assert len(folders) == 2
    for folder in folders:
        with FileLock(folder / ".lock", timeout=PATIENCE_SECONDS):  # waits for its trainer's end
            assert Run(folder).info.state == "interrupted"
            checkpoint.load(Run(folder).checkpoint("last"))


def statistics_of(return_mean, target):
    return AgentResult(
        **dict.fromkeys(field.name for field in fields(AgentResult))
        | {"return_mean": return_mean, "target_return": target}
    )


def result_of(seed, return_mean, solved_at=None, target=200.0):
    """The end of a seed, of which only what counts over seeds is told."""
    evaluation = None if return_mean is None else statistics_of(return_mean, target)
    known = {"seed": seed, "evaluation": evaluation, "solved": solved_at is not None, "solved_at_env_steps": solved_at}
    nothing = dict.fromkeys(field.name for field in fields(SeedResult))
    return SeedResult(**nothing | known | {"solved_at_seconds": solved_at and solved_at / 1000})


def together(*ended, asked=None, stopped=False):
    seeds = range(asked or len(ended))
    return over_seeds("X-v0", seeds, dict(enumerate(ended)), at_a_time=2, seconds=1.5, stopped=stopped)


def test_statistics_over_seeds():
    ends = (
        result_of(0, 210.0, 1000),
        result_of(1, 250.0, 3000),
        result_of(2, 10.0),
        result_of(3, 230.0, 7000),
        result_of(4, 300.0, 2000),
    )
    found = together(*ends)
    assert (found.env_id, found.seeds, found.at_a_time, found.wall_seconds) == ("X-v0", [0, 1, 2, 3, 4], 2, 1.5)
    assert (found.runs, found.failures) == (list(ends), {})
    assert found.seeds_evaluated == 5
    assert found.return_mean == pytest.approx((210 + 250 + 10 + 230 + 300) / 5)
    assert found.return_iqm == pytest.approx((210 + 230 + 250) / 3)  # of five, the lowest and the highest are left out
    # Student's: squares about the mean of 200 sum to 49,600, the error is √(49,600 / 20), t's quantile is 2.7764
    assert found.return_mean_ci95 == pytest.approx((200 - 2.7764 * 49.8, 200 + 2.7764 * 49.8), abs=0.01)
    # Yuen's: winsorised they are 210, 210, 230, 250, 250; the error is √(1,600 / 6), t's quantile is 4.3027
    assert found.return_iqm_ci95 == pytest.approx((230 - 4.3027 * 16.330, 230 + 4.3027 * 16.330), abs=0.01)
    assert found.seeds_solved_fraction == 0.8
    assert (found.solved_at_env_steps_median, found.solved_at_seconds_median) == (3000, 3.0)  # of 1, 2, 3, 7 and later


def test_seeds_that_failed_count_as_unsolved():
    solved = [result_of(seed, 210.0, 1000 * (seed + 1)) for seed in range(3)]
    found = together(*solved, result_of(3, 10.0), Failure("no memory"))
    assert (found.seeds_evaluated, found.failures) == (4, {4: "no memory"})
    assert found.seeds_solved_fraction == 3 / 5
    assert (found.solved_at_env_steps_median, found.solved_at_seconds_median) == (3000, 3.0)  # of 1, 2, 3 and two later
    half = together(*solved[:2], result_of(2, 10.0), Failure("no memory"))
    assert half.seeds_solved_fraction == 0.5
    assert (half.solved_at_env_steps_median, half.solved_at_seconds_median) == (None, None)


def test_seeds_that_have_not_come_to_an_end_have_solved_nothing_yet():
    """Nobody knows whether they will; that the medians take them for later than all others flatters nobody."""
    solved = [result_of(seed, 210.0, 1000 * (seed + 1)) for seed in range(3)]
    found = together(*solved, result_of(3, None), asked=5, stopped=True)
    assert (found.seeds_evaluated, found.seeds_solved_fraction) == (3, 1.0)
    assert found.solved_at_env_steps_median == 3000
    assert together(*solved, asked=6, stopped=True).solved_at_env_steps_median is None


def test_statistics_over_one_seed_or_none():
    alone = together(result_of(0, -150.0, target=None))
    assert (alone.return_mean, alone.return_mean_ci95, alone.seeds_solved_fraction) == (-150.0, None, None)
    nothing = together(result_of(0, None))
    assert (nothing.return_mean, nothing.return_iqm_ci95, nothing.seeds_solved_fraction) == (None, None, None)


def test_our_warnings_go_to_the_parent_while_there_is_one_and_others_where_they_went(monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: shown.append(str(message)))
    ours, theirs = multiprocessing.Pipe()
    send = _sending(theirs)
    send(RuntimeWarning("of NumPy"), RuntimeWarning, "x.py", 1)
    send(PpocliWarning("of ours"), PpocliWarning, "x.py", 1)
    assert str(ours.recv()) == "of ours"
    ours.close()
    send(PpocliWarning("unheard"), PpocliWarning, "x.py", 1)
    theirs.close()
    assert shown == ["of NumPy"]
