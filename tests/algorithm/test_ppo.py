"""PPO's update against the plain policy gradient."""

import copy
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.losses import clipped_value_loss, policy_loss, value_loss
from ppocli.algorithm.rollout import Batch, minibatches
from ppocli.algorithm.updates.make import make_update
from ppocli.algorithm.updates.ppo import PPO
from ppocli.config.models import Config
from ppocli.config.sections import NetworkConfig, PPOConfig, UpdateConfig
from ppocli.config.values import Schedule
from ppocli.envs.api import Continuous, Discrete, MultiDiscrete, Vector
from ppocli.errors import NonFiniteError

THREE_CHOICES = Discrete(3)


def make_agent(action_spec=THREE_CHOICES):
    network = NetworkConfig(hidden_sizes=(16,))
    return Agent(Vector(4), action_spec, network, torch.Generator().manual_seed(0))


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
    """A PPO with `changes` of either of its sections."""
    settings = {"learning_rate": 1e-3, "minibatch_size": 16, "update_epochs": 2} | changes
    own = {name: settings.pop(name) for name in PPOConfig.model_fields if name in settings}
    return PPO(agent, UpdateConfig(**settings), PPOConfig(**own))


def update(ppo, batch, seed=0, done=0.0):
    return ppo.update(batch, done, np.random.default_rng(seed))


def weights(agent):
    return torch.nn.utils.parameters_to_vector(agent.parameters()).detach().clone()


def gradient(module):
    return torch.cat([parameter.grad.flatten() for parameter in module.parameters()])


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
    update(make_ppo(agent, update_epochs=1, minibatch_size=64, max_grad_norm=1e9, learning_rate=0.0), batch)
    log_probs, _ = plain.log_prob_and_entropy(batch.obs, batch.actions)
    standardized = (batch.advantages - batch.advantages.mean()) / batch.advantages.std()
    (-(standardized * log_probs).mean()).backward()
    for one, other in zip(agent.actor.parameters(), plain.actor.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_the_critics_gradient_is_that_of_its_weighted_error():
    agent, plain = make_agent(), make_agent()
    batch = make_batch(agent)
    ppo = make_ppo(agent, update_epochs=1, minibatch_size=64, max_grad_norm=1e9, vf_coef=0.3, learning_rate=0.0)
    update(ppo, batch)
    (0.3 * (plain.value(batch.obs) - batch.returns).square().mean()).backward()
    for one, other in zip(agent.critic.parameters(), plain.critic.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("action_spec", [Discrete(3), MultiDiscrete((2, 3)), Continuous((True, False))])
@pytest.mark.parametrize("hidden_sizes", [(), (16,)])
@pytest.mark.parametrize("clip_vloss", [False, True])
def test_the_gradient_is_that_of_the_whole_loss(action_spec, hidden_sizes, clip_vloss):
    """By autograd, from arXiv:1707.06347 eq. 9; ratios and values lie within the clip and beyond."""
    config = NetworkConfig(hidden_sizes=hidden_sizes, init="uniform")
    agent = Agent(Vector(4), action_spec, config, torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    obs, advantages, moved = (torch.randn(*shape, generator=rng) for shape in ((64, 4), (64,), (64,)))
    with torch.no_grad():
        actions, _ = agent.sample(obs, torch.randn(64, agent.distribution.num_outputs, generator=rng))
        old = agent.log_prob_and_entropy(obs, actions)[0] - 0.3 * moved
        values = agent.value(obs) + moved
    returns = values + torch.randn(64, generator=rng)
    reference = copy.deepcopy(agent)
    log_probs, entropies = reference.log_prob_and_entropy(obs, actions)
    terms = (reference.value(obs), returns)
    critics = clipped_value_loss(*terms, values, 0.2) if clip_vloss else value_loss(*terms)
    (policy_loss(log_probs - old, advantages, 0.2) + 0.7 * critics - 0.3 * entropies.mean()).backward()

    ppo = make_ppo(
        agent,
        **{"learning_rate": 0.0, "minibatch_size": 64, "update_epochs": 1, "max_grad_norm": None, "norm_adv": False},
        **{"vf_coef": 0.7, "ent_coef": 0.3, "clip_vloss": clip_vloss},
    )
    update(ppo, Batch(obs, actions, old, values, advantages, returns))
    torch.testing.assert_close(gradient(agent), gradient(reference), rtol=1e-4, atol=1e-6)


def test_the_scale_of_advantages_matters_only_without_norm_adv():
    moved = {}
    for norm_adv in (True, False):
        for factor, shift in ((1, 0), (100, 7)):
            agent = make_agent()
            before, batch = weights(agent.actor), make_batch(agent)
            other = replace(batch, advantages=factor * batch.advantages + shift)
            update(make_ppo(agent, norm_adv=norm_adv), other)
            moved[norm_adv, factor] = weights(agent.actor) - before
    torch.testing.assert_close(moved[True, 1], moved[True, 100], rtol=1e-3, atol=1e-6)
    assert (moved[False, 1] - moved[False, 100]).abs().max() > 1e-4


def test_the_step_is_as_long_as_the_learning_rate_says():
    for learning_rate in (0.0, 1e-3):
        agent = make_agent()
        before = weights(agent)
        metrics = update(
            make_ppo(agent, update_epochs=1, minibatch_size=64, learning_rate=learning_rate), make_batch(agent)
        )
        # Adam's first step moves the parameter with the largest gradient by the learning rate itself
        assert (weights(agent) - before).abs().max().item() == pytest.approx(learning_rate, rel=0.01)
        assert metrics.learning_rate == learning_rate


@pytest.mark.parametrize("name", ["learning_rate", "ent_coef", "clip_coef"])
def test_what_has_a_schedule_is_what_the_schedule_says_by_then(name):
    ends = {}
    for value in (Schedule(start=0.8, end=0.0), 0.2, 0.8):
        agent = make_agent()
        ppo = make_ppo(agent, **{"learning_rate": 0.05, "ent_coef": 0.5, "update_epochs": 4} | {name: value})
        metrics = update(ppo, make_batch(agent), done=0.75)
        ends[str(value)] = [*weights(agent).tolist(), metrics]
    scheduled, constant, start = ends.values()
    assert scheduled == constant
    assert scheduled != start
    assert scheduled[-1].learning_rate == (0.2 if name == "learning_rate" else 0.05)


def test_gradient_norm_is_reported_before_it_is_clipped():
    agent = make_agent()
    metrics = update(make_ppo(agent, update_epochs=1, minibatch_size=64, max_grad_norm=1e-3), make_batch(agent))
    assert metrics.gradient_norm > 0.01
    assert gradient(agent).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_every_sample_is_seen_once_an_epoch_in_an_order_of_its_own(monkeypatch):
    agent = make_agent()
    batch = make_batch(agent)
    seen = []
    original = agent.actor.with_backward
    monkeypatch.setattr(agent.actor, "with_backward", lambda obs: (seen.append(obs[:, 0]), original(obs))[1])
    update(make_ppo(agent), batch)
    assert [len(minibatch) for minibatch in seen] == [16] * 8
    first, second = torch.cat(seen[:4]), torch.cat(seen[4:])
    assert first.sort().values.equal(batch.obs[:, 0].sort().values)
    assert second.sort().values.equal(batch.obs[:, 0].sort().values)
    assert not first.equal(second)


def test_no_epoch_keeps_the_observations_of_those_before(monkeypatch):
    seen = []

    def recorded(batch, size, rng, **settings):
        assert sum(obs() is not None for obs in seen) <= 1  # of the minibatch that has just been learned from
        for minibatch in minibatches(batch, size, rng, **settings):
            seen.append(weakref.ref(minibatch.obs))
            yield minibatch

    monkeypatch.setattr("ppocli.algorithm.updates.ppo.minibatches", recorded)
    agent = make_agent()
    update(make_ppo(agent, update_epochs=3), make_batch(agent))
    assert len(seen) == 3 * 4


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
    update(make_ppo(agent, update_epochs=10, ent_coef=ent_coef), batch)
    after = agent.log_prob_and_entropy(batch.obs, batch.actions)[1].mean()
    assert (after > before + 0.01).item() is rises


def test_a_second_thread_changes_no_bit(monkeypatch):
    ends = []
    for is_large in (False, True):
        monkeypatch.setattr("ppocli.device.usable_cores", lambda is_large=is_large: 1 + is_large)
        monkeypatch.setattr("ppocli.device._LARGE", 1)
        agent = make_agent()
        metrics = update(make_ppo(agent, update_epochs=3, clip_vloss=True), make_batch(agent))
        ends.append((weights(agent).tolist(), metrics))
    assert ends[0] == ends[1]


def test_what_is_not_finite_stops_the_update():
    agent = make_agent()
    batch = make_batch(agent)
    batch.returns[3] = torch.inf
    with pytest.raises(NonFiniteError, match="finite"):
        update(make_ppo(agent), batch)


def test_weights_that_are_not_finite_stop_the_update(monkeypatch):
    agent = make_agent()
    ppo = make_ppo(agent, update_epochs=1, minibatch_size=64)
    monkeypatch.setattr(ppo.optimizer, "step", lambda learning_rate: ppo.optimizer.weights.values.fill_(torch.inf))
    with pytest.raises(NonFiniteError, match="no longer a finite number: KL"):
        update(ppo, make_batch(agent))


def test_optimizer_state_goes_on_where_it_stood():
    agent, restored = make_agent(), make_agent()
    batch = make_batch(agent)
    ppo, other = make_ppo(agent), make_ppo(restored)
    update(ppo, batch)
    restored.load_state_dict(agent.state_dict())
    for name, tensor in ppo.state_dict().items():
        other.state_dict()[name].copy_(tensor)
    update(ppo, batch, seed=5)
    update(other, batch, seed=5)
    for one, two in zip(agent.parameters(), restored.parameters(), strict=True):
        assert torch.equal(one, two)


def test_clip_vloss_takes_the_gradient_from_a_critic_that_has_moved_far_enough():
    gradients = {}
    for clip_vloss in (False, True):
        agent = make_agent()
        batch = make_batch(agent)
        # the critic has moved up by 1 since the rollout, as it should: the returns are far above both
        moved = replace(batch, values=batch.values - 1, returns=batch.values + 10)
        ppo = make_ppo(agent, clip_vloss=clip_vloss, update_epochs=1, minibatch_size=64, learning_rate=0.0)
        update(ppo, moved)
        gradients[clip_vloss] = gradient(agent.critic)
    assert gradients[False].norm() > 0.01
    assert gradients[True].norm() == 0


def test_target_kl_ends_the_update_after_the_epoch_that_goes_too_far(monkeypatch):
    steps = {}
    for target_kl in (None, 1e9, 1e-9):
        agent = make_agent()
        ppo = make_ppo(agent, update_epochs=5, target_kl=target_kl, learning_rate=1e-2)
        metrics = update(ppo, make_batch(agent))
        steps[target_kl] = ppo.optimizer.steps
        assert metrics.approx_kl > 0
    assert steps == {None: 20, 1e9: 20, 1e-9: 4}  # 4 minibatches an epoch


def test_target_kl_is_that_of_the_last_epoch():
    agent = make_agent()
    ppo = make_ppo(agent, update_epochs=10, minibatch_size=64, target_kl=1e-9, learning_rate=1e-2)
    update(ppo, make_batch(agent))
    # With one minibatch an epoch, the KL that an epoch sees is what the epochs before it did: 0 in the first.
    assert ppo.optimizer.steps == 2


def test_without_max_grad_norm_nothing_is_clipped():
    agent = make_agent()
    metrics = update(
        make_ppo(agent, update_epochs=1, minibatch_size=64, max_grad_norm=None, vf_coef=100.0), make_batch(agent)
    )
    assert metrics.gradient_norm == pytest.approx(gradient(agent).norm().item())
    assert metrics.gradient_norm > 10


def test_real_valued_actions_move_towards_what_paid():
    agent = make_agent(Continuous((True,)))
    batch = make_batch(make_agent())
    actions = torch.randn(64, 1, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        log_probs, _ = agent.log_prob_and_entropy(batch.obs, actions)
    paid = replace(batch, actions=actions, log_probs=log_probs, advantages=-(actions[:, 0] - 1).square())
    for seed in range(5):
        update(make_ppo(agent, update_epochs=10, learning_rate=1e-2), paid, seed=seed)
    assert agent.mode(batch.obs)[0].mean() > 0.1
    assert agent.distribution.log_std.item() < -0.05


@pytest.mark.parametrize("clip_vloss", [False, True])
def test_losses_are_reported_as_they_are(clip_vloss):
    agent = make_agent()
    batch = make_batch(agent)
    old = replace(batch, values=batch.values + torch.linspace(-1, 1, 64))
    entropy = agent.log_prob_and_entropy(batch.obs, batch.actions)[1].mean().item()
    clipped = clipped_value_loss(batch.values, batch.returns, old.values, 0.2)
    expected = (clipped if clip_vloss else value_loss(batch.values, batch.returns)).item()
    explained = 1 - (old.returns - old.values).var() / old.returns.var()
    metrics = update(make_ppo(agent, update_epochs=1, minibatch_size=64, vf_coef=0.1, clip_vloss=clip_vloss), old)
    assert metrics.value_loss == pytest.approx(expected)
    # at a ratio of 1 the policy's loss is the mean advantage, which is 0 when it is normalised
    assert metrics.policy_loss == pytest.approx(0, abs=1e-6)
    assert metrics.entropy == pytest.approx(entropy)
    assert metrics.explained_variance == pytest.approx(explained.item(), rel=1e-5)
    assert metrics.value_target_std == pytest.approx(np.std(batch.returns.numpy(), ddof=1), rel=1e-5)


@pytest.mark.parametrize(
    "leave",
    [
        lambda agent: agent.to(torch.float64),
        lambda agent: agent.load_state_dict(make_agent().state_dict(), assign=True),
    ],
    ids=["dtype", "assign"],
)
def test_an_agent_that_has_left_its_optimizer_is_not_updated(leave):
    agent = make_agent()
    batch, ppo = make_batch(agent), make_ppo(agent)
    update(ppo, batch)
    leave(agent)
    with pytest.raises(AssertionError, match="the parameters have left the vector"):
        update(ppo, batch)


def test_the_config_names_the_update_and_its_settings():
    sections = {"update": {"minibatch_size": 32}, "ppo": {"clip_coef": 0.3}}
    config = Config.model_validate({"env": {"id": "CartPole-v1"}, "algorithm": "ppo"} | sections)
    agent, other = make_agent(), make_agent()
    update(make_update(config, agent), make_batch(agent))
    update(PPO(other, config.update, config.ppo), make_batch(other))
    assert weights(agent).equal(weights(other))
    assert not weights(agent).equal(weights(make_agent()))
