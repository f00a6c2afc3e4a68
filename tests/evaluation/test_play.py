"""The evaluation protocol: so many episodes, each with its own seed, whoever plays."""

import numpy as np
import pytest
import torch

from ppocli.algorithm.agent import Agent
from ppocli.config.sections import EnvConfig, NetworkConfig
from ppocli.envs.api import Continuous, Discrete, Step, Vector
from ppocli.envs.make import NUM_EVAL_ENVS, evaluation_envs
from ppocli.evaluation.play import evaluate, greedy, play, random, stochastic
from ppocli.seeds import Purpose, evaluation_seeds

CARTPOLE = EnvConfig(id="CartPole-v1")


@pytest.fixture
def agent():
    return Agent(Vector(4), Discrete(2), NetworkConfig(hidden_sizes=(8,)), torch.Generator().manual_seed(0))


def seeds(number, seed=0):
    return evaluation_seeds(seed, Purpose.EVALUATION, number)


def played(policy, number, env=CARTPOLE):
    return evaluate(evaluation_envs(env), policy, seeds(number))


@pytest.mark.parametrize("number", [1, NUM_EVAL_ENVS - 1, NUM_EVAL_ENVS, NUM_EVAL_ENVS + 1, 3 * NUM_EVAL_ENVS + 7])
def test_exactly_as_many_episodes_as_asked_each_with_its_own_seed(number):
    episodes = played(random(Discrete(2), Vector(4)), number)
    assert [episode.seed for episode in episodes] == seeds(number)


def test_episodes_come_back_in_the_order_of_their_seeds():
    order = [(7 * number) % 50 for number in range(50)]
    assert [
        episode.seed for episode in evaluate(evaluation_envs(CARTPOLE), random(Discrete(2), Vector(4)), order)
    ] == order


def test_each_episode_is_the_same_however_many_are_played(agent):
    def keys(episodes):
        return [(e.seed, e.episode_return, e.episode_length) for e in episodes]

    for policy in (greedy(agent), stochastic(agent), random(Discrete(2), Vector(4))):
        assert keys(played(policy, 3)) == keys(played(policy, 50))[:3]


def test_short_and_long_episodes_count_alike():
    # CartPole's episodes differ in length; each seed's own return must come back, not whichever ended first
    together = played(random(Discrete(2), Vector(4)), 45)
    alone = [evaluate(evaluation_envs(CARTPOLE), random(Discrete(2), Vector(4)), [seed])[0] for seed in seeds(45)]
    assert [e.episode_return for e in together] == [e.episode_return for e in alone]
    assert len({e.episode_length for e in together}) > 5


def test_greedy_takes_the_most_probable_and_stochastic_draws(agent):
    obs = np.random.default_rng(0).normal(size=(NUM_EVAL_ENVS, 4)).astype(np.float32)
    generators = [np.random.default_rng(seed) for seed in range(NUM_EVAL_ENVS)]
    assert greedy(agent)(obs, None, generators)[0].tolist() == agent.actor(torch.from_numpy(obs)).argmax(-1).tolist()
    draws = np.array([stochastic(agent)(obs, None, generators)[0] for _ in range(400)])
    np.testing.assert_allclose(draws.mean(), 0.5, atol=0.05)
    assert ((draws.mean(0) > 0.3) & (draws.mean(0) < 0.7)).all()


def test_random_draws_every_action_alike():
    generators = [np.random.default_rng(seed) for seed in range(4)]
    draws = np.array(
        [random(Discrete(4), Vector(8))(np.zeros((4, 8), np.float32), None, generators)[0] for _ in range(2000)]
    )
    np.testing.assert_allclose(np.bincount(draws.ravel()) / draws.size, 0.25, atol=0.02)


def test_a_random_real_number_has_the_type_of_the_environments_actions():
    generators = [np.random.default_rng(seed) for seed in range(4)]
    drawn, _ = random(Continuous((True, False)), Vector(8))(np.zeros((4, 8), np.float32), None, generators)
    assert (drawn.shape, drawn.dtype) == ((4, 2), np.float32)


def test_episodes_that_end_are_seen_before_what_comes_next():
    seen = list(play(evaluation_envs(CARTPOLE), random(Discrete(2), Vector(4)), seeds(3)))
    assert sorted(episode.seed for finished in seen for episode in finished) == seeds(3)
    # at the start, and after each step
    assert seen[0] == []
    assert len(seen) == 1 + max(episode.episode_length for finished in seen for episode in finished)


def test_whichever_environment_is_free_begins_the_next_episode():
    """Two environments, and four episodes of which the first takes as long as the others together."""

    class Timed:
        num_envs, info_keys, episode_limit, limit_is_assumed, env_id = 2, (), 9, False, "Timed"
        obs_spec = Vector(1)
        lengths = np.zeros(2)

        def reset(self, indices, seeds):
            self.lengths[list(indices)] = seeds  # an episode of seed n takes n steps
            return np.zeros((2, 1), np.float32)

        def step(self, actions):
            self.lengths -= 1
            never = np.zeros(2, dtype=bool)
            return Step(np.zeros((2, 1), np.float32), np.zeros(2), self.lengths == 0, never)

    steps = list(play(Timed(), lambda *_: (np.zeros(2, int), None), [9, 2, 3, 4]))
    ended = [(number, episode.seed, episode.environment) for number, now in enumerate(steps) for episode in now]
    assert ended == [(2, 2, 1), (5, 3, 1), (9, 9, 0), (9, 4, 1)]


@pytest.mark.parametrize("hidden_sizes", [(64, 64), (256, 256), (13, 7)])
def test_which_environment_plays_an_episode_changes_no_bit(hidden_sizes):
    agent = Agent(Vector(8), Continuous((True,) * 3), NetworkConfig(hidden_sizes=hidden_sizes))
    obs = np.random.default_rng(0).normal(size=(NUM_EVAL_ENVS, 8)).astype(np.float32)
    order = np.random.default_rng(1).permutation(NUM_EVAL_ENVS)
    np.testing.assert_array_equal(greedy(agent)(obs[order], None, [])[0], greedy(agent)(obs, None, [])[0][order])
