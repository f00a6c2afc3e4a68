"""Every off-by-one of the rollout, pinned by an environment that counts."""

import numpy as np
import pytest
import torch

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.rollout import Batch, collect, make_batch, minibatches
from ppocli.config.sections import EnvConfig, NetworkConfig
from ppocli.envs.api import Discrete, Vector
from ppocli.envs.episodes import Episodes
from ppocli.envs.gymnasium import GymnasiumVectorEnv


def seed_of(environment, number):
    return 100 * environment + number


@pytest.fixture
def agent():
    return Agent(Vector(2), Discrete(2), NetworkConfig(hidden_sizes=(4,)), torch.Generator().manual_seed(0))


def episodes_of(env_id, num_envs=2, **kwargs):
    return Episodes(GymnasiumVectorEnv(EnvConfig(id=env_id, kwargs=kwargs), num_envs), seed_of)


def noise(agent, horizon, num_envs=2, seed=0):
    return agent.draw_noise(np.random.default_rng(seed), horizon, num_envs)


def test_every_row_is_a_real_transition(agent):
    rollout = collect(episodes_of("Counting-v0"), agent, noise(agent, 7))
    for environment in range(2):
        assert rollout.obs[:, environment, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
        assert rollout.next_obs[:, environment, 0].tolist() == [1, 2, 3, 1, 2, 3, 1]
        assert rollout.rewards[:, environment].tolist() == [1, 2, 3, 1, 2, 3, 1]
        assert rollout.terminated[:, environment].tolist() == [False, False, True, False, False, True, False]
    assert not rollout.truncated.any()
    assert rollout.rewards.dtype == np.float32
    # each episode has its own seed, and its last observation still belongs to it
    assert rollout.obs[:, 1, 1].tolist() == [100, 100, 100, 101, 101, 101, 102]
    assert rollout.next_obs[:, 1, 1].tolist() == [100, 100, 100, 101, 101, 101, 102]


def test_episodes_are_carried_into_the_next_rollout(agent):
    episodes = episodes_of("Counting-v0")
    first = collect(episodes, agent, noise(agent, 4))
    second = collect(episodes, agent, noise(agent, 4))
    assert second.obs[:, 0, 0].tolist() == [1, 2, 0, 1]
    assert [(e.environment, e.seed, e.env_steps) for e in first.episodes] == [(0, 0, 6), (1, 100, 6)]
    assert [(e.environment, e.seed, e.env_steps) for e in second.episodes] == [(0, 1, 12), (1, 101, 12)]
    assert {(e.episode_return, e.episode_length, e.terminated, e.truncated) for e in second.episodes} == {
        (6.0, 3, True, False)
    }


def test_a_time_limit_is_no_death(agent):
    rollout = collect(episodes_of("Truncated-v0"), agent, noise(agent, 4))
    assert rollout.truncated[:, 0].tolist() == [False, False, True, False]
    assert not rollout.terminated.any()
    assert [(e.terminated, e.truncated) for e in rollout.episodes] == [(False, True)] * 2


def test_actions_come_from_the_noise_alone(agent):
    one, same, other = (collect(episodes_of("Counting-v0"), agent, noise(agent, 20, seed=s)) for s in (0, 0, 1))
    assert np.array_equal(one.actions, same.actions)
    assert not np.array_equal(one.actions, other.actions)


def test_batch_holds_the_agents_own_estimates_row_by_row(agent):
    rollout = collect(episodes_of("Truncated-v0"), agent, noise(agent, 4))
    batch = make_batch(rollout, agent, gamma=0.5, gae_lambda=0.0, reward_scale=0.1)
    assert batch.obs.shape == (8, 2)
    assert batch.obs[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    with torch.no_grad():
        log_probs, _ = agent.log_prob_and_entropy(batch.obs, batch.actions)
        values = agent.value(batch.obs)
        next_values = agent.value(torch.from_numpy(rollout.next_obs).flatten(0, 1))
    torch.testing.assert_close(batch.log_probs, log_probs)
    torch.testing.assert_close(batch.values, values)
    # λ = 0: the one-step error, with the value of the last observation before the reset where the limit struck
    rewards = 0.1 * torch.tensor([1.0, 1, 2, 2, 3, 3, 1, 1])
    torch.testing.assert_close(batch.advantages, rewards + 0.5 * next_values - values)
    torch.testing.assert_close(batch.returns, batch.advantages + batch.values)


def test_learning_starts_from_the_very_policy_that_acted(agent):
    """The log-probs of the batch are those of the actions' own distribution: at the first minibatch the ratio is 1."""
    rollout = collect(episodes_of("Counting-v0"), agent, noise(agent, 32))
    batch = make_batch(rollout, agent, gamma=0.9, gae_lambda=0.9, reward_scale=1.0)
    minibatch = torch.from_numpy(np.random.default_rng(0).permutation(64)[:16])
    logits = agent.actor(agent.seen(batch.obs[minibatch]))
    by_torch = torch.distributions.Categorical(logits=logits).log_prob(batch.actions[minibatch])
    ratio = (by_torch - batch.log_probs[minibatch]).exp()
    torch.testing.assert_close(ratio, torch.ones(16), rtol=0, atol=1e-5)


def test_reward_scale_is_for_learning_only(agent):
    rollout = collect(episodes_of("Counting-v0"), agent, noise(agent, 4))
    make_batch(rollout, agent, gamma=0.5, gae_lambda=0.0, reward_scale=0.1)
    assert rollout.rewards[:, 0].tolist() == [1, 2, 3, 1]
    assert rollout.episodes[0].episode_return == 6.0


def parts_of(norm_adv, seed=0):
    """A batch of 12 whose rows are known by their number, and its minibatches of 4."""
    numbers = torch.arange(12, dtype=torch.float32)
    batch = Batch(numbers.unsqueeze(-1), *(number * 100 + numbers for number in range(1, 6)))
    return batch, list(minibatches(batch, 4, np.random.default_rng(seed), norm_adv=norm_adv))


def test_minibatches_hold_each_sample_once_whole_and_in_an_order_of_their_own():
    batch, parts = parts_of(norm_adv=False)
    assert [len(part.obs) for part in parts] == [4, 4, 4]
    order = torch.cat([part.obs for part in parts]).flatten().int()
    assert sorted(order.tolist()) == list(range(12))
    assert order.tolist() != list(range(12))
    for name, tensor in [(name, tensor) for name, tensor in vars(batch).items() if tensor is not None]:
        assert torch.cat([getattr(part, name) for part in parts]).equal(tensor[order]), name
    again, other = (torch.cat([part.obs for part in parts_of(False, seed)[1]]).flatten().int() for seed in (0, 1))
    assert again.equal(order)
    assert not other.equal(order)


def test_each_minibatch_has_advantages_of_its_own_scale():
    batch, parts = parts_of(norm_adv=True)
    _, raw = parts_of(norm_adv=False)
    for part, its_own in zip(parts, raw, strict=True):
        expected = (its_own.advantages - its_own.advantages.mean()) / its_own.advantages.std()
        torch.testing.assert_close(part.advantages, expected)
        assert part.returns.equal(its_own.returns)
    assert batch.advantages.tolist() == [400.0 + number for number in range(12)]  # which stay as they are
