"""The loss against worked arithmetic, and the update against the plain policy gradient."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.losses import (
    approx_kl,
    clip_fraction,
    clipped_value_loss,
    explained_variance,
    normalize,
    policy_loss,
    value_loss,
)
from ppocli.algorithm.rollout import Batch
from ppocli.algorithm.updates.ppo import PPO
from ppocli.envs.api import Continuous, Discrete
from ppocli.errors import TrainingError


def test_policy_loss_by_hand():
    # min(ρA, clip(ρ)A): min(1.5, 1.2), min(-0.5, -0.8), min(-1.5, -1.2), min(0.5, 0.8): the clip only ever lowers
    ratios, advantages = torch.tensor([1.5, 0.5, 1.5, 0.5]), torch.tensor([1.0, -1.0, -1.0, 1.0])
    assert policy_loss(ratios.log(), advantages, 0.2).item() == pytest.approx(-(1.2 - 0.8 - 1.5 + 0.5) / 4)


def test_value_loss_by_hand():
    values, returns = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.0, 2.0, 5.0, 4.0])
    assert value_loss(values, returns).item() == pytest.approx((1 + 0 + 4 + 0) / 4)


def test_approx_kl_by_hand():
    assert approx_kl(torch.tensor([1.5, 0.5]).log()) == pytest.approx((-math.log(1.5) + math.log(2)) / 2, abs=1e-6)


def test_clip_fraction_counts_only_what_lies_outside():
    assert clip_fraction(torch.tensor([1.19, 0.81, 1.21, 0.79]).log(), 0.2) == 0.5


def test_a_clipped_gain_has_no_gradient_and_a_clipped_loss_has():
    log_ratio = torch.tensor([1.5, 1.5]).log().requires_grad_()
    policy_loss(log_ratio, torch.tensor([1.0, -1.0]), 0.2).backward()
    # d(-mean(ρ A))/d log π = -ρ A / 2 where ρ A is the minimum
    torch.testing.assert_close(log_ratio.grad, torch.tensor([0.0, 0.75]))


def test_normalize():
    rows = torch.tensor([[1.0, 2.0, 3.0], [10.0, 30.0, 50.0]])
    torch.testing.assert_close(normalize(rows), torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]))


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, 2.0, 3.0], 1.0), ([2.0, 2.0, 2.0], 0.0), ([3.0, 2.0, 1.0], -3.0)]
)
def test_explained_variance(values, expected):
    assert explained_variance(torch.tensor(values), torch.tensor([1.0, 2.0, 3.0])) == pytest.approx(expected)


def test_explained_variance_of_equal_returns_is_a_number():
    assert explained_variance(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 5.0])) == 0.0


def make_agent():
    return Agent(4, Discrete(3), hidden_sizes=(16,), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def make_batch(agent, size=64):
    rng = torch.Generator().manual_seed(1)
    obs = torch.randn(size, 4, generator=rng)
    actions = torch.randint(agent.distribution.num_outputs, (size,), generator=rng)
    log_probs, _ = agent.log_prob_and_entropy(obs, actions)
    values = agent.value(obs)
    advantages = torch.randn(size, generator=rng)
    return Batch(obs, actions, log_probs, values, advantages, values + advantages)


def make_ppo(agent, **changes):
    settings = {"minibatch_size": 16, "update_epochs": 2, "vf_coef": 0.5, "max_grad_norm": 0.5} | changes
    return PPO(agent, **settings)


def update(ppo, batch, seed=0, **changes):
    settings = {"learning_rate": 1e-3, "clip_coef": 0.2, "ent_coef": 0.0} | changes
    return ppo.update(batch, **settings, rng=np.random.default_rng(seed))


def test_the_first_minibatch_starts_from_the_policy_that_acted():
    agent = make_agent()
    batch = make_batch(agent)
    new_log_probs, _ = agent.log_prob_and_entropy(batch.obs[:16], batch.actions[:16])
    ratio = (new_log_probs - batch.log_probs[:16]).exp()
    torch.testing.assert_close(ratio, torch.ones(16), rtol=0, atol=1e-5)
    metrics = update(make_ppo(agent, update_epochs=1, minibatch_size=64), batch)
    assert metrics.approx_kl == pytest.approx(0, abs=1e-6)
    assert metrics.clip_fraction == 0


def test_the_first_gradient_is_the_plain_policy_gradient():
    agent, plain = make_agent(), make_agent()
    batch = make_batch(agent)
    # A learning rate of 0 leaves the weights, and the gradients of the only minibatch stay to be looked at.
    ppo = make_ppo(agent, update_epochs=1, minibatch_size=64, max_grad_norm=1e9)
    update(ppo, batch, learning_rate=0.0)
    log_probs, _ = plain.log_prob_and_entropy(batch.obs, batch.actions)
    standardized = (batch.advantages - batch.advantages.mean()) / batch.advantages.std()
    (-(standardized * log_probs).mean()).backward()
    for one, other in zip(agent.actor.parameters(), plain.actor.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_the_critics_gradient_is_that_of_its_weighted_error():
    agent, plain = make_agent(), make_agent()
    batch = make_batch(agent)
    update(
        make_ppo(agent, update_epochs=1, minibatch_size=64, max_grad_norm=1e9, vf_coef=0.3), batch, learning_rate=0.0
    )
    (0.3 * (plain.value(batch.obs) - batch.returns).square().mean()).backward()
    for one, other in zip(agent.critic.parameters(), plain.critic.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_each_minibatch_has_advantages_of_its_own_scale(monkeypatch):
    agent = make_agent()
    ppo, seen = make_ppo(agent, update_epochs=1), []
    original = ppo._minibatches
    monkeypatch.setattr(
        ppo, "_minibatches", lambda *args: (seen.append(minibatch) or minibatch for minibatch in original(*args))
    )
    update(ppo, make_batch(agent))
    for _, _, _, advantages, _, _ in seen:
        assert advantages.mean().item() == pytest.approx(0, abs=1e-6)
        assert advantages.std().item() == pytest.approx(1, abs=1e-5)


def test_the_step_is_as_long_as_the_learning_rate_says():
    for learning_rate in (0.0, 1e-3):
        agent = make_agent()
        before = torch.nn.utils.parameters_to_vector(agent.parameters()).detach().clone()
        update(make_ppo(agent, update_epochs=1, minibatch_size=64), make_batch(agent), learning_rate=learning_rate)
        moved = (torch.nn.utils.parameters_to_vector(agent.parameters()) - before).abs().max().item()
        # Adam's first step moves the parameter with the largest gradient by the learning rate itself
        assert moved == pytest.approx(learning_rate, rel=0.01)


def test_gradient_norm_is_reported_before_it_is_clipped():
    agent = make_agent()
    metrics = update(make_ppo(agent, update_epochs=1, minibatch_size=64, max_grad_norm=1e-3), make_batch(agent))
    norm = torch.linalg.vector_norm(torch.cat([parameter.grad.flatten() for parameter in agent.parameters()]))
    assert metrics.gradient_norm > 0.01
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_every_sample_is_seen_once_an_epoch_in_an_order_of_its_own(monkeypatch):
    agent = make_agent()
    batch = make_batch(agent)
    seen = []
    original = agent.log_prob_and_entropy
    monkeypatch.setattr(
        agent, "log_prob_and_entropy", lambda obs, actions: (seen.append(obs[:, 0]), original(obs, actions))[1]
    )
    update(make_ppo(agent), batch)
    assert [len(minibatch) for minibatch in seen] == [16] * 8
    first, second = torch.cat(seen[:4]), torch.cat(seen[4:])
    assert first.sort().values.equal(batch.obs[:, 0].sort().values)
    assert second.sort().values.equal(batch.obs[:, 0].sort().values)
    assert not first.equal(second)


def test_update_moves_towards_what_paid():
    agent = make_agent()
    batch = make_batch(agent)
    paid = replace(batch, advantages=torch.where(batch.actions == 2, 1.0, -1.0))
    before = agent.actor(batch.obs).softmax(-1)[:, 2].mean()
    update(make_ppo(agent, update_epochs=10), paid)
    assert agent.actor(batch.obs).softmax(-1)[:, 2].mean() > before + 0.02


@pytest.mark.parametrize(("ent_coef", "rises"), [(0.0, False), (0.5, True)])
def test_entropy_bonus_opens_the_policy(ent_coef, rises):
    agent = make_agent()
    with torch.no_grad():
        agent.actor[-1].bias[2] = 2.0
    # advantages of exactly 1 are normalised to 0, so that nothing but the bonus moves the actor
    batch = replace(make_batch(agent), advantages=torch.ones(64))
    before = agent.log_prob_and_entropy(batch.obs, batch.actions)[1].mean()
    update(make_ppo(agent, update_epochs=10), batch, ent_coef=ent_coef)
    after = agent.log_prob_and_entropy(batch.obs, batch.actions)[1].mean()
    assert (after > before + 0.01).item() is rises


def test_what_is_not_finite_stops_the_update():
    agent = make_agent()
    batch = make_batch(agent)
    batch.returns[3] = torch.inf
    with pytest.raises(TrainingError, match="finite"):
        update(make_ppo(agent), batch)


def test_weights_that_are_not_finite_stop_the_update(monkeypatch):
    agent = make_agent()
    ppo = make_ppo(agent, update_epochs=1, minibatch_size=64)
    monkeypatch.setattr(ppo.optimizer, "step", lambda learning_rate: ppo.optimizer.weights.fill_(torch.inf))
    with pytest.raises(TrainingError, match="no longer a finite number: weights"):
        update(ppo, make_batch(agent))


def test_optimizer_state_goes_on_where_it_stood():
    agent, restored = make_agent(), make_agent()
    batch = make_batch(agent)
    ppo, other = make_ppo(agent), make_ppo(restored)
    update(ppo, batch)
    restored.load_state_dict(agent.state_dict())
    other.load_state_dict(ppo.state_dict())
    update(ppo, batch, seed=5)
    update(other, batch, seed=5)
    for one, two in zip(agent.parameters(), restored.parameters(), strict=True):
        assert torch.equal(one, two)


def test_clipped_value_loss_by_hand():
    values, old = torch.tensor([1.0, 3.0, 0.4]), torch.tensor([0.0, 0.0, 0.5])
    returns = torch.tensor([2.0, 2.0, 0.0])
    # moved by 1, 3 and -0.1 where 0.5 are allowed: the larger of (V − R)² and (V clipped − R)²
    worse = [max(1, 1.5**2), max(1, 1.5**2), 0.4**2]
    assert clipped_value_loss(values, returns, old, 0.5).item() == pytest.approx(sum(worse) / 3)


def critic_gradient(agent):
    return torch.cat([parameter.grad.flatten() for parameter in agent.critic.parameters()])


def test_clip_vloss_takes_the_gradient_from_a_critic_that_has_moved_far_enough():
    gradients = {}
    for clip_vloss in (False, True):
        agent = make_agent()
        batch = make_batch(agent)
        # the critic has moved up by 1 since the rollout, as it should: the returns are far above both
        moved = replace(batch, values=batch.values - 1, returns=batch.values + 10)
        update(make_ppo(agent, clip_vloss=clip_vloss, update_epochs=1, minibatch_size=64), moved, learning_rate=0.0)
        gradients[clip_vloss] = critic_gradient(agent)
    assert gradients[False].norm() > 0.01
    assert gradients[True].norm() == 0


def test_norm_adv_off_leaves_advantages_as_they_are(monkeypatch):
    agent = make_agent()
    batch = make_batch(agent)
    ppo = make_ppo(agent, norm_adv=False)
    advantages = torch.cat([minibatch[3] for minibatch in ppo._minibatches(batch, torch.arange(64))])
    assert advantages.equal(batch.advantages)


def test_target_kl_ends_the_update_after_the_epoch_that_goes_too_far(monkeypatch):
    steps = {}
    for target_kl in (None, 1e9, 1e-9):
        agent = make_agent()
        ppo = make_ppo(agent, update_epochs=5, target_kl=target_kl)
        metrics = update(ppo, make_batch(agent), learning_rate=1e-2)
        steps[target_kl] = ppo.optimizer.steps
        assert metrics.approx_kl > 0
    assert steps == {None: 20, 1e9: 20, 1e-9: 4}  # 4 minibatches an epoch


def test_target_kl_is_that_of_the_last_epoch():
    agent = make_agent()
    ppo = make_ppo(agent, update_epochs=10, minibatch_size=64)
    batch = make_batch(agent)
    # With one minibatch an epoch, the KL that an epoch sees is what the epochs before it did: 0 in the first.
    ppo.target_kl = 1e-9
    update(ppo, batch, learning_rate=1e-2)
    assert ppo.optimizer.steps == 2


def test_without_max_grad_norm_nothing_is_clipped():
    agent = make_agent()
    metrics = update(
        make_ppo(agent, update_epochs=1, minibatch_size=64, max_grad_norm=None, vf_coef=100.0), make_batch(agent)
    )
    norm = torch.linalg.vector_norm(torch.cat([parameter.grad.flatten() for parameter in agent.parameters()]))
    assert metrics.gradient_norm == pytest.approx(norm.item())
    assert norm > 10


def test_real_valued_actions_move_towards_what_paid():
    agent = Agent(4, Continuous((True,)), hidden_sizes=(16,), generator=torch.Generator().manual_seed(0))
    batch = make_batch(make_agent())
    actions = torch.randn(64, 1, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        log_probs, _ = agent.log_prob_and_entropy(batch.obs, actions)
    paid = replace(batch, actions=actions, log_probs=log_probs, advantages=-(actions[:, 0] - 1).square())
    for seed in range(5):
        update(make_ppo(agent, update_epochs=10), paid, seed=seed, learning_rate=1e-2)
    assert agent.mode(batch.obs).mean() > 0.1
    assert agent.distribution.log_std.item() < -0.05
