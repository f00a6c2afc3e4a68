"""What pictures go through: against autograd, numbers of weights that are known, and pieces of a batch."""

import numpy as np
import pytest
import torch

import examples.catch  # noqa: F401 - registers CameraCatch-v0
from ppocli.algorithm import vision
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.losses import policy_loss, value_loss
from ppocli.algorithm.networks import Same
from ppocli.algorithm.normalize import numbers
from ppocli.algorithm.rollout import Batch, collect, make_batch
from ppocli.algorithm.updates import ppo
from ppocli.algorithm.updates.ppo import PPO
from ppocli.config.sections import EnvConfig, NetworkConfig, PPOConfig, UpdateConfig
from ppocli.envs.api import Continuous, Discrete, Pictures
from ppocli.envs.episodes import Episodes
from ppocli.envs.make import evaluation_envs
from ppocli.seeds import training_seeds

SPEC = Pictures(((1, 16, 16), (3, 36, 40)), size=2, num_masked=4)
B = 12


def make(spec=SPEC, actions=None, **network):
    return Agent(spec, actions or Discrete(4), NetworkConfig(**network), torch.Generator().manual_seed(0))


def rows(spec=SPEC, count=B):
    """Observations in which everything is drawn, and each allows two of four actions at least."""
    rng = np.random.default_rng(0)
    obs = rng.integers(256, size=(count, *spec.shape)).astype(np.uint8)
    beside = obs[:, spec.numbers_at].view(np.float32)
    beside[:, : spec.size] = rng.standard_normal((count, spec.size))
    beside[:, spec.size :] = np.tile([1, 0, 1, 0], (count, 1))[:, : spec.num_masked]
    return torch.from_numpy(obs)


def test_natures_network_has_as_many_weights_as_it_says():
    """Of 4 × 84 × 84 with 6 actions: 8,224 + 32,832 + 36,928 of the convolutions, 3136 · 512 + 512, and two heads."""
    shared = make(Pictures(((4, 84, 84),)), Discrete(6))
    parts = shared.trunk, shared.actor, shared.critic
    counts = [sum(weights.numel() for weights in part.parameters()) for part in parts]
    assert counts == [8224 + 32832 + 36928 + 1606144, 512 * 6 + 6, 512 + 1]
    apart = make(Pictures(((4, 84, 84),)), Discrete(6), shared_cnn=False)
    assert isinstance(apart.trunk, Same)
    assert sum(weights.numel() for weights in apart.parameters()) == 2 * counts[0] + counts[1] + counts[2]


@pytest.mark.parametrize("cnn", ["nature", "impala"])
@pytest.mark.parametrize("part", ["first picture", "second picture", "numbers"])
def test_each_part_is_seen(cnn, part):
    agent, obs = make(cnn=cnn), rows()
    other = obs.clone()
    match part:
        case "first picture":
            other[:, SPEC.places[0]] = 255 - other[:, SPEC.places[0]]
        case "second picture":
            other[:, SPEC.places[1]] = 255 - other[:, SPEC.places[1]]
        case _:
            numbers(SPEC, other)[:, : SPEC.size] += 1
    with torch.no_grad():
        assert ((agent.value(obs) - agent.value(other)).abs() > 1e-6).all()


def test_a_picture_is_scaled_to_0_to_1_and_in_its_place():
    """A layer of one pixel: the value is that pixel's over 255, of the picture channels first."""
    spec = Pictures(((3, 20, 20),))
    agent = make(spec)
    obs = torch.zeros(2, *spec.shape, dtype=torch.uint8)
    obs[1, 400 * 2 + 20 * 7 + 4] = 51  # channel 2, row 7, column 4
    seen = []
    agent.trunk[0].register_forward_hook(lambda module, taken, given: seen.append(taken[0]))
    with torch.no_grad():
        agent.value(obs)
    assert seen[0].shape == (2, 3, 20, 20)
    assert seen[0][1, 2, 7, 4] == pytest.approx(0.2)
    assert seen[0].sum() == pytest.approx(0.2)


def test_a_mask_goes_past_it_to_the_actor():
    agent, obs = make(), rows()
    with torch.no_grad():
        probabilities = agent.actor(agent.trunk(agent.seen(obs))).softmax(-1)
    assert (probabilities[:, [1, 3]] == 0).all()
    assert (probabilities[:, [0, 2]] > 0).all()


def test_numbers_are_normalised_and_pictures_stay_as_they_are():
    agent, obs = make(), rows()
    agent.learn_obs(obs)
    seen = agent.seen(obs)
    beside, before = numbers(SPEC, seen), numbers(SPEC, obs)
    np.testing.assert_allclose(beside[:, :2].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(beside[:, :2].std(0, correction=0), 1, rtol=1e-5)
    assert torch.equal(beside[:, 2:], before[:, 2:])
    assert torch.equal(seen[:, : SPEC.numbers_at.start], obs[:, : SPEC.numbers_at.start])
    assert not torch.equal(before, beside)  # the batch itself is as it was
    assert make(Pictures(((1, 16, 16),))).normalizer is None  # as there is nothing to normalise


def test_pieces_of_a_batch_have_the_bits_of_the_whole(monkeypatch):
    agent, obs = make(), rows(count=20)
    with torch.no_grad():
        monkeypatch.setattr(vision, "PIECE", 8)
        whole = agent.value(obs)
        parts = torch.cat([agent.value(obs[:8]), agent.value(obs[8:16]), agent.value(obs[16:])])
        assert torch.equal(whole, parts)
        assert torch.equal(agent.value(obs.view(4, 5, -1)), whole.view(4, 5))


@pytest.mark.parametrize("cnn", ["nature", "impala"])
@pytest.mark.parametrize("shared_cnn", [True, False])
def test_ppos_gradient_is_autograds(shared_cnn, cnn):
    agent, plain = (make(cnn=cnn, shared_cnn=shared_cnn) for _ in range(2))
    obs, draws = rows(), torch.Generator().manual_seed(1)
    actions = torch.tensor([0, 2]).repeat(B // 2)
    with torch.no_grad():
        log_probs, values = agent.log_prob_and_entropy(obs, actions)[0], agent.value(obs)
    advantages, returns = torch.randn(B, generator=draws), torch.randn(B, generator=draws)
    batch = Batch(obs, actions, log_probs - 0.1, values, advantages, returns)
    settings = UpdateConfig(
        **{"minibatch_size": B, "update_epochs": 1, "norm_adv": False, "learning_rate": 0.0, "max_grad_norm": None},
        **{"ent_coef": 0.1, "vf_coef": 0.3},
    )
    PPO(agent, settings, PPOConfig(clip_coef=0.2)).update(batch, 0.0, np.random.default_rng(0))

    new, entropies = plain.log_prob_and_entropy(obs, actions)
    loss = policy_loss(new - batch.log_probs, advantages, 0.2) + 0.3 * value_loss(plain.value(obs), returns)
    (loss - 0.1 * entropies.mean()).backward()
    for (name, one), other in zip(agent.named_parameters(), plain.parameters(), strict=True):
        assert (one.grad - other.grad).abs().max() <= 1e-4 * other.grad.abs().max(), name
        assert other.grad.any(), name


@pytest.mark.parametrize("actions", [Discrete(4), Continuous((True,))])
def test_jacobian_products_of_a_network_that_sees_are_each_others_transpose(actions):
    spec = Pictures(((1, 16, 16),), size=2)
    agent = make(spec, actions, shared_cnn=False)
    outputs, forward, backward = agent.actor.linearized(rows(spec))
    weights, rng = list(agent.actor.parameters()), torch.Generator().manual_seed(2)
    direction = [torch.randn(one.shape, generator=rng) for one in weights]
    by_outputs = torch.randn(outputs.shape, generator=rng)
    for one in weights:
        one.grad = torch.zeros_like(one)
    backward(by_outputs)
    moved = sum((one.grad * part).sum() for one, part in zip(weights, direction, strict=True))
    assert float((by_outputs * forward(direction)).sum()) == pytest.approx(float(moved), rel=1e-3)


@pytest.mark.parametrize(("limit", "ends"), [(None, 1), (5, 2)])  # a ball lands after seven steps; or time is up
def test_values_of_what_comes_next_are_looked_up_and_not_computed_again(limit, ends):
    envs = evaluation_envs(EnvConfig(id="CameraCatch-v0", workers=0, max_episode_steps=limit))
    agent = make(envs.obs_spec, envs.action_spec)
    episodes = Episodes(envs, training_seeds(0))
    rollout = collect(episodes, agent, agent.draw_noise(np.random.default_rng(0), 10, envs.num_envs))
    assert rollout.ended.sum() == len(rollout.last_obs) == ends * envs.num_envs
    assert rollout.truncated.any() == (limit is not None)
    values = agent.value(agent.tensor(rollout.next_obs)).detach()
    one_step = make_batch(rollout, agent, 0.5, 0.0, 1.0)
    rewards, goes_on = torch.from_numpy(rollout.rewards), torch.from_numpy(~rollout.terminated)
    expected = rewards + 0.5 * values * goes_on
    torch.testing.assert_close(one_step.returns.view(10, -1), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("looked_at", [1, 5])
def test_how_far_the_policy_moved_is_measured_on_some_pictures(looked_at, monkeypatch):
    """Each one's own distance: of the same pictures before and after."""
    monkeypatch.setattr(ppo, "LOOKED_AT", looked_at)
    agent, obs, actions = make(), rows(), torch.tensor([0, 2]).repeat(B // 2)
    with torch.no_grad():
        for weights in agent.actor.parameters():
            weights.mul_(300)  # or it would do nearly the same at every picture
        before = agent.actor(agent.trunk(agent.seen(obs)))
        log_probs = before.log_softmax(-1).gather(1, actions.unsqueeze(1)).squeeze(1)
    numbers_ = torch.arange(B, dtype=torch.float32)
    batch = Batch(obs, actions, log_probs, numbers_, numbers_ - 5, numbers_, outputs=before)
    settings = UpdateConfig(minibatch_size=B, update_epochs=1, learning_rate=0.01)
    metrics = PPO(agent, settings, PPOConfig()).update(batch, 0.0, np.random.default_rng(0))
    with torch.no_grad():
        after = agent.actor(agent.trunk(agent.seen(obs))).log_softmax(-1)
    old = before.log_softmax(-1)
    expected = (old.exp() * (old - after)).sum(-1)[::looked_at].mean()
    assert metrics.kl == pytest.approx(float(expected), rel=1e-3)
    assert metrics.kl > 1e-4
