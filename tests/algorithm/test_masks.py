"""Policies whose actions are not always allowed, beside `torch.distributions` over what is allowed alone."""

import copy

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from ppocli.algorithm import losses
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.updates.natural import fisher_product
from ppocli.algorithm.updates.shared import moved, policy_at
from ppocli.algorithm.weights import Weights
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Discrete, MultiDiscrete, Vector

SIZE, B = 4, 64
CHOICES = {"one choice": (5,), "choices": (2, 3, 4)}
SPECS = {"one choice": Discrete(5), "choices": MultiDiscrete((2, 3, 4))}


def masked_agent(spec, **network):
    choices = sum(spec.num_choices) if isinstance(spec, MultiDiscrete) else spec.num_choices
    config = NetworkConfig(hidden_sizes=(16, 8), init="uniform", **network)
    return Agent(Vector(SIZE, num_masked=choices), spec, config, torch.Generator().manual_seed(0)).double()


def seen(choices, *, num=B):
    """Observations that each end in a mask, with at least one allowed choice for each part of an action."""
    rng = np.random.default_rng(0)
    masks = []
    for of_part in choices:
        part = (rng.random((num, of_part)) < 0.5).astype(float)
        part[np.arange(num), rng.integers(of_part, size=num)] = 1
        masks.append(part)
    return torch.from_numpy(np.concatenate([rng.normal(size=(num, SIZE)), *masks], 1)), masks


def unmasked_logits(agent, obs):
    """What the actor's own layers make of the observation without its mask."""
    with torch.no_grad():
        return agent.actor._network[0](agent.seen(obs)[:, :SIZE])


def alone(logits, masks, choices):
    """For each row and part, the distribution over the allowed choices, and which they are."""
    parts = torch.split(logits, choices, -1)
    return [
        [(Categorical(logits=part[row][own[row] == 1]), np.flatnonzero(own[row])) for row in range(len(logits))]
        for part, own in zip(parts, masks, strict=True)
    ]


@pytest.mark.parametrize("name", SPECS)
def test_probabilities_and_entropies_are_those_of_what_is_allowed(name):
    agent, (obs, masks) = masked_agent(SPECS[name]), seen(CHOICES[name])
    with torch.inference_mode():
        actions, _ = agent.sample(obs, torch.from_numpy(agent.draw_noise(np.random.default_rng(1), B)))
        log_probs, entropies = agent.log_prob_and_entropy(obs, actions)
    by_part = actions.reshape(B, -1).T
    expected = torch.zeros(2, B, dtype=torch.float64)
    for chosen, rows in zip(by_part, alone(unmasked_logits(agent, obs), masks, CHOICES[name]), strict=True):
        for row, (policy, which) in enumerate(rows):
            (place,) = np.flatnonzero(which == int(chosen[row]))  # it was an allowed one
            expected[0, row] += policy.log_prob(torch.tensor(place))
            expected[1, row] += policy.entropy()
    torch.testing.assert_close(torch.stack([log_probs, entropies]), expected)


@pytest.mark.parametrize("name", SPECS)
def test_what_is_not_allowed_is_never_done_however_likely_it_would_be(name):
    agent, (obs, masks) = masked_agent(SPECS[name]), seen(CHOICES[name], num=2000)
    with torch.no_grad():
        agent.actor[-1].bias.copy_(10 * (1 - torch.from_numpy(np.concatenate(masks, 1)[0])))  # what row 0 forbids
        noise = torch.from_numpy(agent.draw_noise(np.random.default_rng(1), len(obs)))
        for actions, _ in (agent.sample(obs, noise), agent.mode(obs)):
            for chosen, mask in zip(actions.reshape(len(obs), -1).T, masks, strict=True):
                assert mask[np.arange(len(obs)), chosen].all()


@pytest.mark.parametrize("name", SPECS)
def test_divergence_is_that_of_what_is_allowed(name):
    agent, (obs, masks) = masked_agent(SPECS[name]), seen(CHOICES[name])
    with torch.no_grad():
        before, old = policy_at(agent, obs), unmasked_logits(agent, obs)
        for parameter in agent.actor.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        measured = moved(agent, obs, before)
    parts = zip(alone(old, masks, CHOICES[name]), alone(unmasked_logits(agent, obs), masks, CHOICES[name]), strict=True)
    of_rows = [kl_divergence(was, now) for both in parts for (was, _), (now, _) in zip(*both, strict=True)]
    torch.testing.assert_close(measured, torch.stack(of_rows).sum() / B)
    assert measured > 1e-3


@pytest.mark.parametrize("name", SPECS)
def test_gradients_in_closed_form_are_autograds_and_finite(name):
    one, (obs, _) = masked_agent(SPECS[name]), seen(CHOICES[name])
    other = copy.deepcopy(one)
    weights, advantages = Weights(one.actor), torch.randn(B, dtype=torch.float64)
    noise = torch.from_numpy(one.draw_noise(np.random.default_rng(1), B))
    with torch.no_grad():
        actions, _ = one.sample(obs, noise)
        weights.zero_gradient()
        outputs, to_weights = one.actor.with_backward(obs)
        log_probs, _, to_outputs = one.distribution.with_backward(outputs, actions)
        to_weights(to_outputs(losses.log_prob_loss_gradient(log_probs, advantages), -0.01 / B))
    log_probs, entropies = other.log_prob_and_entropy(obs, actions)
    (losses.log_prob_loss(log_probs, advantages) - 0.01 * entropies.mean()).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in other.actor.parameters()])
    torch.testing.assert_close(weights.gradient, expected)
    assert weights.gradient.isfinite().all()
    assert expected.abs().max() > 1e-3


@pytest.mark.parametrize("name", SPECS)
def test_fisher_products_are_the_second_derivative_of_the_divergence(name):
    agent, (obs, _) = masked_agent(SPECS[name]), seen(CHOICES[name])
    weights = Weights(agent.policy)
    vector = torch.randn(len(weights.values), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        product = fisher_product(agent, weights, obs)(vector)
        before, old, step = policy_at(agent, obs), weights.values.clone(), 1e-4
        divergences = []
        for sign in (1, -1):
            weights.values.copy_(old + sign * step * vector)
            divergences.append(moved(agent, obs, before))
    torch.testing.assert_close(vector.dot(product), sum(divergences) / step**2, rtol=1e-4, atol=0)


def test_the_critic_and_the_running_statistics_know_of_no_mask():
    spec = Discrete(5)
    agent, (obs, masks) = masked_agent(spec, normalize_obs=True), seen((5,))
    other = obs.clone()
    other[:, SIZE:] = 1
    agent.learn_obs(obs)
    with torch.no_grad():
        torch.testing.assert_close(agent.value(obs), agent.value(other), rtol=0, atol=0)
    assert agent.normalizer.statistics.mean.shape == (SIZE,)
    np.testing.assert_allclose(agent.normalizer.statistics.mean, obs[:, :SIZE].mean(0))
    assert torch.equal(agent.seen(obs)[:, SIZE:], torch.from_numpy(masks[0]))
