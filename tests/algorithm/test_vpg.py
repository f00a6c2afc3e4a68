"""The vanilla policy gradient against autograd, a bandit worked out by hand, and REINFORCE's returns to go."""

import copy

import numpy as np
import pytest
import torch

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.rollout import Batch, Rollout, make_batch
from ppocli.algorithm.updates.shared import policy_gradient
from ppocli.algorithm.updates.vpg import VPG
from ppocli.algorithm.weights import Weights
from ppocli.config.sections import NetworkConfig, UpdateConfig, VPGConfig
from ppocli.envs.api import Continuous, Discrete, MultiDiscrete, Vector

B = 32
SETTINGS = UpdateConfig(minibatch_size=16, update_epochs=1, learning_rate=1e-2, max_grad_norm=None)


def make_agent(spec, **network):
    settings = NetworkConfig(**({"hidden_sizes": (4,), "init": "uniform", "normalize_obs": False} | network))
    return Agent(Vector(3), spec, settings, torch.Generator().manual_seed(0))


@torch.no_grad()
def random_batch(agent):
    rng = torch.Generator().manual_seed(1)
    obs, advantages = torch.randn(B, 3, generator=rng), torch.randn(B, generator=rng)
    actions, _ = agent.sample(obs, torch.randn(B, agent.distribution.num_outputs, generator=rng))
    log_probs, _ = agent.log_prob_and_entropy(obs, actions)
    values = agent.value(obs)
    return Batch(obs, actions, log_probs, values, advantages, values + advantages)


@pytest.mark.parametrize("spec", [Discrete(3), MultiDiscrete((2, 3)), Continuous((True, False))])
def test_the_gradient_is_that_of_the_loss_by_autograd(spec):
    agent = make_agent(spec)
    batch, reference = random_batch(agent), copy.deepcopy(agent)
    policy = Weights(agent.policy)
    with torch.no_grad():
        policy_gradient(agent, policy, batch, ent_coef=0.3)
    log_probs, entropies = reference.log_prob_and_entropy(batch.obs, batch.actions)
    (-(log_probs * batch.advantages).mean() - 0.3 * entropies.mean()).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in reference.policy.parameters()])
    torch.testing.assert_close(policy.gradient, expected, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_a_bandit_is_that_worked_out_by_hand():
    """Logits (0, ln 3), so that p = (¼, ¾); action 0 paid 2, action 1 paid −1: −½ [2 (e₀ − p) − (e₁ − p)] by logits."""
    agent = make_agent(Discrete(2), hidden_sizes=())
    with torch.no_grad():
        agent.actor[0].weight.zero_()
        agent.actor[0].bias.copy_(torch.tensor([0.0, np.log(3)]))
    nothing, one_each = torch.zeros(2), torch.tensor([0, 1])
    batch = Batch(torch.zeros(2, 3), one_each, nothing, nothing, torch.tensor([2.0, -1.0]), nothing)
    policy = Weights(agent.policy)
    with torch.no_grad():
        policy_gradient(agent, policy, batch, ent_coef=0.0)
    *_, bias = policy.parts(policy.gradient)
    # 2 (¾, −¾) − (−¼, ¼) = (7/4, −7/4)
    torch.testing.assert_close(bias, torch.tensor([-7 / 8, 7 / 8]))


def test_an_update_is_one_step_however_many_passes_the_critic_takes():
    moves = []
    for update_epochs in (1, 5):
        agent = make_agent(Discrete(3))
        vpg = VPG(agent, SETTINGS.model_copy(update={"update_epochs": update_epochs}), VPGConfig())
        before = vpg.actor.weights.values.clone()
        vpg.update(random_batch(agent), 0.0, np.random.default_rng(0))
        moves.append(vpg.actor.weights.values - before)
        assert float(vpg.actor.steps) == 1
    assert torch.equal(*moves)
    # Adam's first step moves each weight that has a gradient by the learning rate
    assert moves[0].abs().max().item() == pytest.approx(1e-2, rel=0.01)


def test_metrics_say_what_the_update_did():
    agent = make_agent(Discrete(3))
    batch, old = random_batch(agent), copy.deepcopy(agent)
    metrics = VPG(agent, SETTINGS.model_copy(update={"norm_adv": False}), VPGConfig()).update(
        batch, 0.0, np.random.default_rng(0)
    )
    with torch.no_grad():
        log_probs, entropies = old.log_prob_and_entropy(batch.obs, batch.actions)
        policies = [torch.distributions.Categorical(logits=one.actor(batch.obs)) for one in (old, agent)]
    assert metrics.policy_loss == pytest.approx(-float((log_probs * batch.advantages).mean()), rel=1e-5)
    assert metrics.entropy == pytest.approx(float(entropies.mean()), rel=1e-5)
    assert metrics.kl == pytest.approx(float(torch.distributions.kl_divergence(*policies).mean()), rel=1e-3)
    absent = (metrics.approx_kl, metrics.clip_fraction, metrics.step_length, metrics.line_search_steps)
    assert absent == (None, None, None, None)


def rollout_of(rewards, terminated, truncated):
    rewards, terminated, truncated = (
        np.array(rows, dtype)
        for rows, dtype in zip((rewards, terminated, truncated), (np.float32, bool, bool), strict=True)
    )
    horizon, num_envs = rewards.shape
    shown = np.random.default_rng(0).standard_normal((horizon + 1, num_envs, 3)).astype(np.float32)
    last_obs = shown[1:][terminated | truncated]
    return Rollout(shown, np.zeros(rewards.shape, np.int64), rewards, last_obs, terminated, truncated, [])


def test_without_a_baseline_advantages_are_the_returns_to_go_of_episodes_that_ended():
    """Two environments: one ends after two steps and begins again; the other is truncated in its third and last."""
    rollout = rollout_of(
        rewards=[[1, 10], [2, 20], [5, 40]],
        terminated=[[False, False], [True, False], [False, False]],
        truncated=[[False, False], [False, False], [False, True]],
    )
    batch = make_batch(rollout, make_agent(Discrete(2)), gamma=0.5, gae_lambda=1.0, reward_scale=1.0, baseline=False)
    # in the order of time: 1 + ½ 2, 10 + ½ 20 + ¼ 40; 2, 20 + ½ 40; (5 belongs to an episode that is not over), 40
    assert batch.advantages.tolist() == [2.0, 30.0, 2.0, 40.0, 40.0]
    assert batch.returns.tolist() == batch.advantages.tolist()
    assert not batch.values.any()
    assert batch.obs.tolist() == [*rollout.obs[0].tolist(), *rollout.obs[1].tolist(), rollout.obs[2, 1].tolist()]


def test_where_no_episode_has_ended_reinforce_learns_nothing():
    agent = make_agent(Discrete(2))
    unfinished = rollout_of([[1.0]] * 4, [[False]] * 4, [[False]] * 4)
    batch = make_batch(unfinished, agent, 0.99, 1.0, 1.0, baseline=False)
    vpg = VPG(agent, SETTINGS, VPGConfig(baseline=False))
    before = torch.nn.utils.parameters_to_vector(agent.parameters()).detach().clone()
    metrics = vpg.update(batch, 0.0, np.random.default_rng(0))
    assert torch.equal(torch.nn.utils.parameters_to_vector(agent.parameters()), before)
    assert {name for name, value in vars(metrics).items() if value is not None} == {"learning_rate"}


def test_reinforce_leaves_the_critic_alone():
    agent = make_agent(Discrete(3))
    batch = random_batch(agent)
    vpg = VPG(agent, SETTINGS, VPGConfig(baseline=False))
    critic = vpg.critic.weights.values.clone()
    metrics = vpg.update(batch, 0.0, np.random.default_rng(0))
    assert torch.equal(vpg.critic.weights.values, critic)
    assert (metrics.value_loss, metrics.explained_variance) == (None, None)
