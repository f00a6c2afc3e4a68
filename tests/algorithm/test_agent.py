"""The agent's initial weights and its action distribution, against NumPy and closed forms."""

import numpy as np
import pytest
import torch

from ppocli.algorithm.agent import Agent, new_agent
from ppocli.algorithm.distributions import Categorical
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Continuous, Discrete, Vector

THREE_CHOICES = Discrete(3)
LOGITS = torch.tensor([[0.0, 1.0, 2.0]])
PROBABILITIES = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()


def agent(action_spec=THREE_CHOICES, **changes):
    network = NetworkConfig(**{"hidden_sizes": (8, 6), "activation": "tanh"} | changes)
    return Agent(Vector(4), action_spec, network, torch.Generator().manual_seed(0))


def test_log_prob_and_entropy():
    actions = torch.tensor([2])
    log_prob, entropy = Categorical(3).with_backward(LOGITS, actions)[:2]
    assert log_prob.item() == pytest.approx(np.log(PROBABILITIES[2]), abs=1e-6)
    assert entropy.item() == pytest.approx(-(PROBABILITIES * np.log(PROBABILITIES)).sum(), abs=1e-6)


def test_samples_follow_the_probabilities():
    distribution = Categorical(3)
    noise = torch.from_numpy(distribution.draw_noise(np.random.default_rng(0), 100_000))
    actions = distribution.sample(LOGITS.expand(100_000, 3), noise).numpy()
    # 5 standard errors of a share of 100,000 draws are below 0.008
    np.testing.assert_allclose(np.bincount(actions) / 100_000, PROBABILITIES, atol=0.008)


def test_mode_is_the_most_probable():
    assert Categorical(3).mode(LOGITS).tolist() == [2]


def test_weights_are_orthogonal_with_the_gains_of_the_design():
    network = agent()
    for layer, gain in zip(list(network.actor)[::2], (np.sqrt(2), np.sqrt(2), 0.01), strict=True):
        singular = torch.linalg.svdvals(layer.weight.detach())
        torch.testing.assert_close(singular, torch.full_like(singular, gain), rtol=1e-4, atol=0)
        assert not layer.bias.any()
    singular = torch.linalg.svdvals(network.critic[-1].weight.detach())
    torch.testing.assert_close(singular, torch.ones_like(singular))


def test_the_first_policy_is_nearly_uniform():
    obs = torch.randn(100, 4, generator=torch.Generator().manual_seed(1))
    log_probs, entropy = agent().log_prob_and_entropy(obs, torch.zeros(100, dtype=torch.int64))
    assert (log_probs + np.log(3)).abs().max() < 0.05
    assert entropy.min() > np.log(3) - 0.001


def test_a_new_agents_weights_are_those_of_its_seed():
    def weights(seed):
        rng = np.random.default_rng(seed)
        fresh = new_agent(Vector(4), THREE_CHOICES, NetworkConfig(hidden_sizes=(8,)), rng, torch.device("cpu"))
        return fresh.actor[0].weight

    assert torch.equal(weights(5), weights(5))
    assert not torch.equal(weights(5), weights(6))


def test_weights_depend_on_the_generator_alone():
    first = agent()
    torch.rand(7)
    for one, other in zip(first.parameters(), agent().parameters(), strict=True):
        assert torch.equal(one, other)


def test_actor_and_critic_share_nothing():
    network = agent()
    network.value(torch.ones(2, 4)).sum().backward()
    assert all(parameter.grad is None for parameter in network.actor.parameters())


@pytest.mark.parametrize(
    ("activation", "layer"),
    [
        ("tanh", torch.nn.Tanh),
        ("relu", torch.nn.ReLU),
        ("elu", torch.nn.ELU),
        ("gelu", torch.nn.GELU),
        ("silu", torch.nn.SiLU),
    ],
)
def test_activation(activation, layer):
    assert isinstance(agent(activation=activation).critic[1], layer)
    assert isinstance(agent(activation=activation).actor[3], layer)


def test_no_hidden_layers_is_a_linear_agent():
    assert agent(hidden_sizes=()).value(torch.zeros(5, 4)).shape == (5,)


def test_uniform_init_is_pytorchs_own():
    network = agent(init="uniform", hidden_sizes=(100, 100))
    for layer in (*list(network.actor)[::2], *list(network.critic)[::2]):
        limit = 1 / np.sqrt(layer.in_features)
        for parameter in (layer.weight, layer.bias):
            assert parameter.abs().max() <= limit
        assert layer.weight.abs().max() > 0.9 * limit
        np.testing.assert_allclose(layer.weight.detach().std(), limit / np.sqrt(3), rtol=0.1)
    assert torch.equal(network.actor[0].weight, agent(init="uniform", hidden_sizes=(100, 100)).actor[0].weight)


def test_log_std_init():
    network = agent(action_spec=Continuous((True, True)), log_std_init=-1.5)
    assert network.distribution.log_std.tolist() == [-1.5, -1.5]
    assert "distribution.log_std" in network.state_dict()
