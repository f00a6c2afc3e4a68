"""One iteration, and the seams around it: any update can learn from its batch, anybody can follow it."""

import numpy as np
import pytest
import torch

from ppocli.algorithm.updates.api import UpdateMetrics
from ppocli.config.models import Config
from ppocli.envs.make import make_environments
from ppocli.evaluation.judge import Judge
from ppocli.records.info import Command
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.seeds import Stream, generator
from ppocli.training import setup
from ppocli.training.job import Job
from ppocli.training.outcome import follow
from ppocli.training.resume import resume_job
from tests.jobs import train

CONFIG = Config.model_validate(
    {
        "env": {"id": "Probe-v0", "kwargs": {"kind": "reward-from-action"}, "num_envs": 8},
        "network": {"hidden_sizes": [8]},
        "rollout": {"horizon": 16},
        "update": {"minibatch_size": 32},
        "train": {"env_steps": 128 * 20, "eval_episodes": 1, "eval_interval": 10**6},
    }
)


@pytest.fixture
def training(tmp_path):
    environments = make_environments(CONFIG)
    judge = Judge(CONFIG, environments.evaluation, first_solver_wins=False, should_stop=lambda: False)
    job = Job(CONFIG, RunWriter(Run(tmp_path / "run")))
    clock = iter(np.arange(0.0, 1000.0, 0.5))
    yield setup.build(job, environments.training, judge, lambda: float(next(clock)))[0]
    environments.close()


class HillClimbing:
    """An update of one's own: a step up the policy gradient, and no critic, no optimizer, no state."""

    def __init__(self, agent):
        self.agent, self.seen = agent, []

    def update(self, batch, done, rng):
        log_probs, entropies = self.agent.log_prob_and_entropy(batch.obs, batch.actions)
        gradients = torch.autograd.grad((log_probs * batch.returns).mean(), list(self.agent.actor.parameters()))
        for parameter, gradient in zip(self.agent.actor.parameters(), gradients, strict=True):
            parameter.data += 0.5 * gradient
        self.seen.append((done, rng.integers(2**31)))
        return UpdateMetrics(learning_rate=0.5, entropy=entropies.mean().item())

    def state_dict(self):
        return {}


def test_another_update_trains_in_the_same_iteration(training):
    training.update = HillClimbing(training.agent)
    iterations = [training.step() for _ in range(20)]
    assert iterations[0].metrics.return_mean == pytest.approx(0.0, abs=0.4)  # one of two actions pays 1, the other −1
    assert iterations[-1].metrics.return_mean > 0.9
    assert iterations[-1].metrics.learning_rate == 0.5
    # how far training is, and an order of its own in each iteration
    assert [done for done, _ in training.update.seen] == [number / 20 for number in range(20)]
    draws = [generator(0, Stream.SHUFFLING, number).integers(2**31) for number in range(20)]
    assert [draw for _, draw in training.update.seen] == draws
    assert set(training.state()) == {"agent", "optimizer", "rewards", "episodes", "judge", "memory"}


def test_an_iteration_says_what_it_did_and_where_training_stands(training):
    first, second = training.step(), training.step()
    assert (second.metrics.iteration, second.metrics.env_steps) == (2, 256)
    assert (second.progress.iterations, second.progress.env_steps, second.progress.episodes) == (2, 256, 256)
    assert first.progress.iterations == 1  # the first one's stays what it was
    assert len(second.episodes) == 128
    # the clock ticks half a second each time that it is asked: at the start, and after each of three phases
    row = second.metrics
    assert (row.rollout_seconds, row.update_seconds, row.evaluation_seconds) == (0.5, 0.5, 0.5)
    assert row.env_steps_per_second == 128 / 1.0
    assert (second.rollout_ended, row.seconds, second.progress.seconds) == (2.5, 3.5, 3.5)
    assert not second.saved


def test_a_snapshot_is_the_state_of_its_moment(training):
    training.step()
    snapshot, then = training.snapshot(), training.state()
    then = {part: {name: values.copy() for name, values in named.items()} for part, named in then.items()}
    training.step()
    for part, named in snapshot().items():
        for name, values in named.items():
            assert np.array_equal(values, then[part][name]), f"{part}.{name}"
    assert not np.array_equal(training.state()["agent"]["actor.2.bias"], then["agent"]["actor.2.bias"])


@pytest.mark.filterwarnings("ignore:Moody-v0")
def test_new_episodes_in_all_environments_have_no_returns_behind_them(tmp_path):
    """The running returns of the reward normaliser belong to the episodes that an inexact resume gives up."""
    config = Config.model_validate(
        {
            "env": {"id": "Moody-v0", "kwargs": {"length": 50}, "num_envs": 2},
            "network": {"hidden_sizes": [4]},
            "rollout": {"horizon": 8, "normalize_rewards": True},
            "update": {"minibatch_size": 16},
            "train": {"env_steps": 64, "eval_episodes": 1, "eval_interval": 1000},
        }
    )
    run = Run(tmp_path / "run")
    iterations = train(config, run)
    next(iterations)
    iterations.close()
    job = resume_job(run, Command(), allow_inexact=True)
    assert (job.saved.part("rewards")["returns"] > 1).all()
    environments = make_environments(config)
    judge = Judge(config, environments.evaluation, first_solver_wins=False, should_stop=lambda: False)
    training, exact = setup.build(job, environments.training, judge, lambda: 0.0)
    assert not exact
    assert training.rewards.returns.tolist() == [0.0, 0.0]
    assert training.rewards.statistics.count == 16  # what it has learned of rewards stays
    job.writer.close()
    environments.close()


def test_following_ends_with_the_iterations_or_when_asked_and_closes_them():
    closed = []

    def iterations():
        try:
            yield from range(10)
        finally:
            closed.append(True)

    heard, other = [], []
    follow(iterations(), [heard.append, other.append])
    assert heard == other == list(range(10))
    follow(iterations(), [heard.append], lambda: heard[-1] == 3)
    assert heard[10:] == [0, 1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        follow(iterations(), [lambda number: 1 / number])
    assert len(closed) == 3
