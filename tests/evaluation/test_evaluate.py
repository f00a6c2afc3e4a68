"""The evaluation protocol and its statistics."""

import numpy as np
import pytest
import torch

from ppocli.algorithm.agent import Agent
from ppocli.config.models import Config, EnvConfig
from ppocli.envs.api import Discrete
from ppocli.envs.episodes import Episode
from ppocli.envs.make import SLOTS, evaluation_envs
from ppocli.evaluation.play import evaluate, greedy, random, stochastic
from ppocli.evaluation.statistics import statistics, summarize, target_return
from ppocli.seeds import Purpose, evaluation_seeds

CARTPOLE = EnvConfig(id="CartPole-v1")


@pytest.fixture
def agent():
    return Agent(4, Discrete(2), hidden_sizes=(8,), generator=torch.Generator().manual_seed(0))


def seeds(number, seed=0):
    return evaluation_seeds(seed, Purpose.EVALUATION, number)


def played(policy, number, env=CARTPOLE):
    return evaluate(evaluation_envs(env), policy, seeds(number))


@pytest.mark.parametrize("number", [1, SLOTS - 1, SLOTS, SLOTS + 1, 3 * SLOTS + 7])
def test_exactly_as_many_episodes_as_asked_each_with_its_own_seed(number):
    episodes = played(random(Discrete(2)), number)
    assert [episode.seed for episode in episodes] == seeds(number)


def test_episodes_come_back_in_the_order_of_their_seeds():
    order = [(7 * number) % 50 for number in range(50)]
    assert [episode.seed for episode in evaluate(evaluation_envs(CARTPOLE), random(Discrete(2)), order)] == order


def test_each_episode_is_the_same_however_many_are_played(agent):
    def keys(episodes):
        return [(e.seed, e.episode_return, e.episode_length) for e in episodes]

    for policy in (greedy(agent), stochastic(agent), random(Discrete(2))):
        assert keys(played(policy, 3)) == keys(played(policy, 50))[:3]


def test_short_and_long_episodes_count_alike():
    # CartPole's episodes differ in length; each seed's own return must come back, not whichever ended first
    together = played(random(Discrete(2)), 45)
    alone = [evaluate(evaluation_envs(CARTPOLE), random(Discrete(2)), [seed])[0] for seed in seeds(45)]
    assert [e.episode_return for e in together] == [e.episode_return for e in alone]
    assert len({e.episode_length for e in together}) > 5


def test_greedy_takes_the_likeliest_and_stochastic_draws(agent):
    obs = np.random.default_rng(0).normal(size=(SLOTS, 4)).astype(np.float32)
    generators = [np.random.default_rng(seed) for seed in range(SLOTS)]
    assert greedy(agent)(obs, generators).tolist() == agent.actor(torch.from_numpy(obs)).argmax(-1).tolist()
    draws = np.array([stochastic(agent)(obs, generators) for _ in range(400)])
    np.testing.assert_allclose(draws.mean(), 0.5, atol=0.05)
    assert ((draws.mean(0) > 0.3) & (draws.mean(0) < 0.7)).all()


def test_random_draws_every_action_alike():
    generators = [np.random.default_rng(seed) for seed in range(4)]
    draws = np.array([random(Discrete(4))(np.zeros((4, 8), np.float32), generators) for _ in range(2000)])
    np.testing.assert_allclose(np.bincount(draws.ravel()) / draws.size, 0.25, atol=0.02)


def episode(episode_return, length=10, truncated=False):
    return Episode(0, 0, episode_return, length, not truncated, truncated, 0)


def test_statistics_by_hand():
    returns = [1, 2, 3, 4, 5, 6, 7, 100]
    summary = summarize([episode(value, length=value, truncated=value < 3) for value in returns], target=6)
    assert summary.return_mean == 16
    assert summary.return_std == pytest.approx(np.sqrt((225 + 196 + 169 + 144 + 121 + 100 + 81 + 7056) / 8))
    assert summary.return_median == 4.5
    assert summary.return_iqm == (3 + 4 + 5 + 6) / 4
    assert (summary.return_min, summary.return_max, summary.length_mean) == (1, 100, 16)
    assert (summary.solved_fraction, summary.terminated_fraction, summary.truncated_fraction) == (3 / 8, 0.75, 0.25)


def test_interval_is_a_percentile_bootstrap_of_the_iqm():
    returns = np.random.default_rng(1).normal(100, 20, 100)
    low, high = summarize([episode(value) for value in returns], None).return_iqm_ci95
    rng = np.random.default_rng(2)
    middles = np.sort(rng.choice(returns, (20_000, 100)), axis=1)[:, 25:75].mean(1)
    assert (low, high) == pytest.approx(np.percentile(middles, [2.5, 97.5]), abs=0.3)
    assert summarize([episode(value) for value in returns], None).return_iqm_ci95 == (low, high)


def test_edges_of_the_statistics():
    assert summarize([episode(3.0)], 5).return_iqm_ci95 is None
    assert summarize([episode(3.0)], None).solved_fraction is None
    same = summarize([episode(500.0)] * 100, 500)
    assert same.return_iqm_ci95 == (500, 500)
    assert same.solved_fraction == 1


def test_target():
    def config(env_id, **train):
        return Config.model_validate({"env": {"id": env_id}, "train": train})

    assert target_return(config("CartPole-v1")) == 475
    assert target_return(config("CartPole-v1", target_return=0)) == 0
    assert target_return(config("Counting-v0")) is None
    result = statistics(config("Counting-v0"), [episode(1.0)], 4, deterministic=True)
    assert (result["env_id"], result["episodes"], result["seed"]) == ("Counting-v0", 1, 4)
    assert result["deterministic"] is True
