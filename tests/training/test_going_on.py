"""Trainings that begin with another's agent, end early, or have the only instance of their environment."""

import itertools
import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from ppocli.config.load import measured_in
from ppocli.config.models import Config
from ppocli.config.sections import MemoryConfig
from ppocli.envs.make import drawn_envs, evaluation_envs, make_environments
from ppocli.errors import PpocliWarning, RunError, UsageError
from ppocli.evaluation.agents import load_agent
from ppocli.evaluation.curves import groups, without_repeats
from ppocli.evaluation.results import evaluate_checkpoint
from ppocli.pictures.learning import _name
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Progress
from ppocli.records.info import Command
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.report.charts import health_charts
from ppocli.report.data import gather
from ppocli.training import loop
from ppocli.training.job import Job, Origin
from ppocli.training.resume import resume_job
from tests.endings import assert_same_ending
from tests.environments import Counting
from tests.jobs import resume, trained

TINY = {
    "env": {"id": "Counting-v0", "num_envs": 2, "workers": 0},
    "network": {"hidden_sizes": [8]},
    "rollout": {"horizon": 16},
    "update": {"minibatch_size": 32, "update_epochs": 1, "learning_rate": 1e-2},
    "train": {"env_steps": 32 * 8, "eval_interval": 32, "eval_episodes": 2},
}


def config_of(**sections):
    return Config.model_validate({name: TINY.get(name, {}) | sections.get(name, {}) for name in TINY | sections})


def arrays(path, part):
    return checkpoint.load(path).part(part)


def begun(config, origin, folder):
    """What a run that began with another's agent holds before and after it has learned."""
    run = Run(folder)
    job = Job(config, RunWriter(run), origin=origin)
    training = loop.train(job)
    next(training)
    training.close()
    return run


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    run, _ = trained(config_of(train={"snapshots": 2}), tmp_path_factory.mktemp("parent") / "parent-run")
    return run


def origin_of(run, name="last", **more):
    return Origin(checkpoint.load(run.checkpoint(name)), **more)


def test_a_run_begins_with_the_agent_of_another_on_a_changed_task(parent, tmp_path):
    changed = config_of(env={"kwargs": {"length": 5}}, train={"seed": 1, "env_steps": 32})
    run = begun(changed, origin_of(parent), tmp_path / "child")
    before = arrays(run.checkpoint("previous"), "agent")  # what it began with
    for name, values in arrays(parent.checkpoint("last"), "agent").items():
        np.testing.assert_array_equal(before[name], values)
    after = arrays(run.checkpoint("last"), "agent")
    assert any((after[name] != before[name]).any() for name in before)
    own, theirs = (arrays(one, "rewards") for one in (run.checkpoint("previous"), parent.checkpoint("last")))
    assert own["count"] == theirs["count"] > 0
    assert own["returns"].tolist() == [0, 0]
    assert run.info.begun_from.name == "parent-run"
    assert run.info.begun_from.env_steps == 256
    assert checkpoint.load(run.checkpoint("previous")).progress.env_steps == 0


@pytest.mark.parametrize("keeps", [False, True])
def test_its_optimizer_is_kept_on_request(parent, keeps, tmp_path):
    run = begun(config_of(train={"env_steps": 32}), origin_of(parent, keeps_optimizer=keeps), tmp_path / "child")
    before, theirs = (arrays(one, "optimizer") for one in (run.checkpoint("previous"), parent.checkpoint("last")))
    same = all(np.array_equal(before[name], theirs[name]) for name in theirs)
    assert same == keeps


def test_a_snapshot_will_do(parent, tmp_path):
    origin = Origin(checkpoint.load(parent.snapshots[-1]))
    run = begun(config_of(train={"env_steps": 32}), origin, tmp_path / "child")
    for name, values in arrays(parent.checkpoint("last"), "agent").items():
        np.testing.assert_array_equal(arrays(run.checkpoint("previous"), "agent")[name], values)


def test_it_resumes_to_the_bit_without_what_it_began_with(parent, tmp_path):
    config, origin = config_of(env={"kwargs": {"length": 5}}), origin_of(parent)

    def training(folder):
        return loop.train(Job(config, RunWriter(Run(folder)), origin=origin))

    list(training(tmp_path / "whole"))
    for iterations in (1, 3):
        folder = tmp_path / f"stopped-{iterations}"
        with closing(training(folder)) as stopped:
            list(itertools.islice(stopped, iterations))
        list(resume(Run(folder)))
        assert_same_ending(Run(folder), Run(tmp_path / "whole"))


def test_one_that_was_killed_before_it_held_anything_is_not_begun_anew(parent, tmp_path):
    run = begun(config_of(), origin_of(parent), tmp_path / "child")
    for name in ("last", "previous", "best"):
        run.checkpoint(name).unlink(missing_ok=True)
    with pytest.raises(RunError, match="ended before its first checkpoint"):
        resume_job(run, Command())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"env": {"id": "Shifted-v0"}},
            r"its form of observations \(normalizer.statistics.mean\) is \(2,\), and here \(4,\)",
        ),
        ({"env": {"id": "Gated-v0"}}, r"its form of actions \(actor.2.weight\) is \(2, 8\), and here \(4, 8\)"),
        ({"network": {"memory": {"size": 8}}}, r"its network.memory is None, and here \{'kind': 'gru', 'size': 8\}"),
        ({"network": {"hidden_sizes": [4]}}, r"its network.hidden_sizes is \(8,\), and here \(4,\)"),
        ({"network": {"critic_hidden_sizes": [4]}}, r"its network.critic_hidden_sizes is None, and here \(4,\)"),
        ({"network": {"normalize_obs": False}}, r"its network.normalize_obs is True, and here False"),
    ],
)
def test_an_agent_of_another_form_is_refused_and_leaves_nothing(parent, changes, said, tmp_path):
    with pytest.raises(UsageError, match=f"^--from .*{said}.*; observations, actions and network"):
        begun(config_of(**changes), origin_of(parent), tmp_path / "child")
    assert not (tmp_path / "child").exists()


def test_the_same_weights_with_another_activation_are_another_agent(parent, tmp_path):
    with pytest.raises(UsageError, match=r"^--from .*: its network.activation is tanh, and here relu"):
        begun(config_of(network={"activation": "relu"}), origin_of(parent), tmp_path / "child")
    assert not (tmp_path / "child").exists()


@pytest.mark.parametrize("origin", ["trpo", "snapshot"])
def test_an_optimizer_that_cannot_be_kept_is_refused(parent, origin, tmp_path):
    saved = checkpoint.load(parent.snapshots[-1] if origin == "snapshot" else parent.checkpoint("last"))
    changed = {"algorithm": "trpo"} if origin == "trpo" else {}
    config = Config.model_validate(config_of().as_written() | changed)
    with pytest.raises(UsageError, match=r"^--keep-optimizer: .* has no optimizer that fits this config's algorithm"):
        begun(config, Origin(saved, keeps_optimizer=True), tmp_path / "child")
    assert not (tmp_path / "child").exists()


def test_an_agent_learns_on_with_masks_that_it_did_not_have(tmp_path):
    task = {"id": "Gated-v0", "kwargs": {"how": "info"}}
    free, _ = trained(config_of(env=task | {"id": "Counting-v0", "kwargs": {}}), tmp_path / "free")
    shapes = {name: values.shape for name, values in arrays(free.checkpoint("last"), "agent").items()}
    masked, _ = trained(config_of(env=task, train={"env_steps": 32}), tmp_path / "masked")
    of_masked = {name: values.shape for name, values in arrays(masked.checkpoint("last"), "agent").items()}
    assert of_masked == shapes | {"actor.2.weight": (4, 8), "actor.2.bias": (4,)}  # Gated has four choices


def test_runs_are_told_apart_by_what_they_began_with_and_belong_together_whatever_its_seed(parent, tmp_path):
    other, _ = trained(config_of(train={"seed": 5}), tmp_path / "other")
    short = config_of(train={"env_steps": 64})
    origins = [
        origin_of(parent),
        origin_of(parent, keeps_optimizer=True),
        Origin(checkpoint.load(parent.snapshots[0])),
        origin_of(other),
    ]
    runs = [begun(short, origin, tmp_path / f"child-{number}") for number, origin in enumerate(origins)]
    assert without_repeats(runs) == (runs, [])
    assert [[run.path.name for run in group.runs] for group in groups(runs)] == [
        ["child-0", "child-3"],  # two seeds of one experiment, each begun with its own agent
        ["child-1"],
        ["child-2"],
    ]
    assert [_name(checkpoint.load(run.checkpoint("previous")), run) for run in runs[:1]] == ["as it began"]


def test_evaluations_without_a_better_one_end_a_run(tmp_path):
    """Every greedy episode of this task is worth 6, so that only the first evaluation is better than one before."""
    run, iterations = trained(config_of(train={"patience": 3}), tmp_path / "run")
    assert [iteration.verdict.eval_return for iteration in iterations] == [6] * 4
    assert (run.info.state, run.info.ended_by) == ("finished", "patience")
    resumed = resume(run, "train.patience=null")
    next(resumed)
    assert (run.info.state, run.info.ended_by, run.info.ended) == ("running", "", None)
    (*_, last) = resumed
    assert last.progress.iterations == 8
    assert (run.info.state, run.info.ended_by) == ("finished", "env_steps")


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        ({"seconds": 11.9, "evaluations_without_better": 2, "iterations": 7, "solved_at_env_steps": 3}, ""),
        ({"seconds": 12.0}, "max_seconds"),
        ({"evaluations_without_better": 3}, "patience"),
        ({"iterations": 8, "evaluations_without_better": 3, "seconds": 12.0}, "env_steps"),
    ],
)
def test_what_ends_a_run(progress, expected, tmp_path):
    job = Job(config_of(train={"patience": 3, "max_seconds": 12}), RunWriter(Run(tmp_path)))
    assert job.ended_by(Progress(**progress)) == expected


def test_what_a_run_began_with_is_named_wherever_one_goes(parent, monkeypatch):
    monkeypatch.chdir(parent.path)
    origin = Origin(checkpoint.load(Path("checkpoints/last.safetensors")))
    assert origin.ancestor.checkpoint == str(parent.checkpoint("last"))


def test_patience_is_counted_over_an_interruption(tmp_path):
    config = config_of(train={"patience": 3})
    with closing(loop.train(Job(config, RunWriter(Run(tmp_path / "run"))))) as training:
        list(itertools.islice(training, 2))
    assert len(list(resume(Run(tmp_path / "run")))) == 2


def test_seconds_end_a_run_with_an_evaluation(tmp_path, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("ppocli.training.loop.time.perf_counter", lambda: next(clock))
    run, iterations = trained(config_of(train={"max_seconds": 12, "eval_interval": 10_000}), tmp_path / "run")
    assert 1 < len(iterations) < 8
    assert [iteration.verdict.eval_return for iteration in iterations] == [None] * (len(iterations) - 1) + [6]
    assert (run.info.state, run.info.ended_by) == ("finished", "max_seconds")
    assert run.checkpoint("best").exists()


class Alone(Counting):
    """Cannot be made while another one is there."""

    there = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        assert Alone.there == 0, "the port is taken"
        Alone.there += 1

    def close(self):
        Alone.there -= 1

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


@pytest.fixture
def alone():
    gym.register("Alone-v0", Alone)
    yield config_of(env={"id": "Alone-v0", "num_envs": 1, "single_instance": True}, update={"minibatch_size": 16})
    del gym.registry["Alone-v0"]
    assert Alone.there == 0


def test_a_simulator_that_may_exist_only_once_trains_is_resumed_and_evaluated(alone, tmp_path):
    with pytest.warns(PpocliWarning, match="an evaluation has ended the training episode under way"):
        run, iterations = trained(alone, tmp_path / "whole")
    assert {iteration.verdict.eval_return for iteration in iterations} == {None, 6}
    lengths = {row.episode_length for row in run.episodes()}
    assert lengths == {3}  # what evaluations have interrupted is not among them
    # One comes after each 32 env steps, two of which it interrupts, and none after 16.
    assert [row.env_steps for row in run.episodes()][:11] == [3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 35]
    assert arrays(run.checkpoint("last"), "rewards")["returns"].tolist() == [0]  # of what it has interrupted
    result = evaluate_checkpoint(checkpoint.load(run.checkpoint("last")), run, 3)
    assert result.return_mean == 6
    with closing(drawn_envs(alone.env, "rgb_array")) as envs:
        envs.reset([0], [0])
        assert envs.render().shape == (8, 8, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PpocliWarning)
        with closing(loop.train(Job(alone, RunWriter(Run(tmp_path / "stopped"))))) as training:
            list(itertools.islice(training, 3))
        list(resume(Run(tmp_path / "stopped")))
    assert_same_ending(Run(tmp_path / "stopped"), run)


@pytest.mark.filterwarnings("ignore:Alone-v0")
def test_nothing_is_remembered_of_an_episode_that_an_evaluation_has_interrupted(alone, tmp_path):
    remembering = alone.changed("network", memory=MemoryConfig(size=8))
    for steps, begins_anew in ((16, False), (32, True)):  # an evaluation comes after 32
        run = Run(tmp_path / str(steps))
        config = remembering.changed("train", eval_interval=32, env_steps=10_000)
        with closing(loop.train(Job(config, RunWriter(run)))) as training:
            list(itertools.islice(training, steps // 16))
        assert arrays(run.checkpoint("last"), "memory")["states"].any() != begins_anew


@pytest.mark.filterwarnings("ignore:Alone-v0")
def test_the_only_one_is_measured_under_other_physics_too(alone, tmp_path):
    run, _ = trained(alone.changed("train", env_steps=32), tmp_path / "run")
    task = measured_in(run.config, ["env.kwargs.length=4"])
    result = evaluate_checkpoint(checkpoint.load(run.checkpoint("last")), None, 2, task=task)
    assert (result.return_mean, result.env_kwargs) == (10, {"length": 4})


def test_what_training_returned_is_not_compared_with_another_task(parent):
    saved = checkpoint.load(parent.checkpoint("last"))
    good = replace(saved, arrays=saved.arrays | {"judge.recent_returns": np.full(100, 450.0)})
    assert evaluate_checkpoint(good, None, 10).greedy_shortfall == 444
    task = measured_in(saved.config, ["env.kwargs.length=4"])
    assert evaluate_checkpoint(good, None, 10, task=task).greedy_shortfall is None


def test_an_environment_that_is_measured_in_another_form_says_so():
    config = config_of(env={"wrappers": [{"id": "FrameStackObservation", "stack_size": 2, "training_only": True}]})
    with pytest.raises(UsageError, match="give agents other observations or actions than in training"):
        make_environments(config)


def test_without_the_key_there_are_several(alone):
    with pytest.raises(Exception, match="the port is taken"):
        make_environments(alone.changed("env", single_instance=False, num_envs=2)).training.reset([0, 1], [0, 1])
    Alone.there = 0


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"num_envs": 2, "single_instance": True}},
        {"env": {"num_envs": 1, "single_instance": True, "workers": 1}},
        {"env": {"num_envs": 1, "single_instance": True}, "evaluation": {"env_kwargs": {"length": 5}}},
        {"env": {"num_envs": 1, "single_instance": True, "backend": "vector"}},
        {"env": {"num_envs": 1, "single_instance": True, "wrappers": [{"id": "ClipReward", "training_only": True}]}},
    ],
)
def test_what_would_need_a_second_one_is_refused(changes):
    with pytest.raises(ValueError, match=r"env\.single_instance: "):
        config_of(update={"minibatch_size": 16}, **changes)


def test_the_critic_may_have_a_size_of_its_own(tmp_path):
    run, _ = trained(config_of(network={"critic_hidden_sizes": [5, 3]}, train={"env_steps": 32}), tmp_path / "run")
    saved = checkpoint.load(run.checkpoint("last"))
    agent = load_agent(saved, evaluation_envs(saved.config.env))
    assert [tuple(weight.shape) for weight in agent.critic.parameters() if weight.ndim == 2] == [(5, 2), (3, 5), (1, 3)]
    assert [tuple(weight.shape) for weight in agent.actor.parameters() if weight.ndim == 2] == [(8, 2), (2, 8)]
    assert agent.value(torch.zeros(4, 2)).shape == (4,)


def test_a_run_that_is_resumed_with_workers_keeps_its_evaluation_where_it_was(tmp_path):
    run, _ = trained(config_of(), tmp_path / "run")
    before = checkpoint.load(run.checkpoint("best"))
    (run.path / "config.yaml").write_text(run.config.changed("env", workers=1).to_yaml())
    assert run.evaluation_in(before.config.evaluated_in) == run.evaluation
    other = before.config.env.model_copy(update={"kwargs": {"length": 9}})
    shorter = other.model_copy(update={"max_episode_steps": 5})
    assert len({run.evaluation, run.evaluation_in(other), run.evaluation_in(shorter)}) == 3
    one, same = ({"length": 9, "x": 1}, {"x": 1, "length": 9})
    files = [run.evaluation_in(other.model_copy(update={"kwargs": kwargs})) for kwargs in (one, same)]
    assert files[0] == files[1]


def test_the_environment_may_be_another_one_in_evaluations(tmp_path):
    config = config_of(env={"kwargs": {"length": 3}}, evaluation={"env_kwargs": {"length": 4}})
    run, iterations = trained(config, tmp_path / "run")
    assert {row.episode_length for row in run.episodes()} == {3}
    assert iterations[-1].verdict.eval_return == 1 + 2 + 3 + 4
    result = evaluate_checkpoint(checkpoint.load(run.checkpoint("best")), run, 3)
    assert (result.return_mean, result.random_baseline.return_mean, result.env_kwargs) == (10, 10, {"length": 4})
    assert run.evaluation.exists()  # which that is


def test_numbers_of_the_last_info_are_logged_averaged_and_drawn(tmp_path):
    env = {"id": "Informed-v0", "info_keys": ["is_success", "height", "absent"]}
    run, _ = trained(config_of(env=env, train={"env_steps": 64}), tmp_path / "run")
    header = (run.path / "metrics.csv").read_text().partition("\n")[0]
    assert header.endswith(",info.height,info.absent")  # the mean of is_success is the success_rate
    assert [(row.success_rate, row.info) for row in run.metrics()] == [(1, {"height": 2.5})] * 2
    assert run.episodes()[0].info == {"is_success": 1, "height": 2.5}
    (environment,) = gather([run])
    charts = {chart.heading: chart for chart in health_charts(environment)}
    assert charts["height"].figure["data"][0]["y"] == [2.5, 2.5]
    assert "absent" not in charts
