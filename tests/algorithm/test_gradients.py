"""The gradients in closed form against autograd's."""

import copy

import pytest
import torch

from ppocli.algorithm import losses
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.networks import ACTIVATIONS, Network
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Continuous, Discrete, MultiDiscrete, Vector

B, CLIP = 64, 0.2
PRECISIONS = [(torch.float32, 1e-6), (torch.float64, 1e-12)]
ACTIONS = {"one choice": Discrete(5), "choices": MultiDiscrete((2, 3, 4)), "numbers": Continuous((True, False, True))}
RATIOS = [0.3, 0.8, 0.81, 1.0, 1.19, 1.2, 1.21, 3.0]  # within the clip, on its edges and beyond


def assert_equal(found, expected, precision):
    """Equal relative to the largest: a sum of large numbers that is nearly 0 has no better digits."""
    assert found.dtype == expected.dtype
    assert (found - expected).abs().max() <= precision * expected.abs().max()


def draws(dtype, *shape, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def agents(spec, activation, dtype):
    """Two of the same weights, with gradients to add to in the first."""
    config = NetworkConfig(hidden_sizes=(16, 8), activation=activation, init="uniform", log_std_init=-0.3)
    one = Agent(Vector(4), spec, config, torch.Generator().manual_seed(0)).to(dtype)
    other = copy.deepcopy(one)
    for parameter in one.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return one, other


def gradients(agent):
    return torch.cat([parameter.grad.flatten() for parameter in agent.parameters() if parameter.grad is not None])


@pytest.mark.parametrize(("dtype", "precision"), PRECISIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("spec", ACTIONS.values(), ids=ACTIONS)
def test_of_the_actor(spec, activation, dtype, precision):
    one, other = agents(spec, activation, dtype)
    obs, advantages = draws(dtype, B, 4), draws(dtype, B, seed=1)
    with torch.no_grad():
        actions, _ = one.sample(obs, draws(dtype, B, one.distribution.num_outputs, seed=2))
    log_ratio = torch.tensor(RATIOS, dtype=dtype).log().repeat(B // len(RATIOS))
    old = one.log_prob_and_entropy(obs, actions)[0].detach() - log_ratio

    log_probs, entropies = other.log_prob_and_entropy(obs, actions)
    (losses.policy_loss(log_probs - old, advantages, CLIP) - 0.01 * entropies.mean()).backward()

    with torch.no_grad():
        outputs, to_weights = one.actor.with_backward(obs)
        log_probs, _, to_outputs = one.distribution.with_backward(outputs, actions)
        by_log_prob = losses.policy_loss_gradient(log_probs - old, advantages, CLIP)
        to_weights(to_outputs(by_log_prob, -0.01 / B))
    assert not any(parameter.grad.any() for parameter in one.critic.parameters())
    for parameter in one.critic.parameters():
        parameter.grad = None
    assert_equal(gradients(one), gradients(other), precision)


@pytest.mark.parametrize(("dtype", "precision"), PRECISIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("clip_vloss", [False, True])
def test_of_the_critic(clip_vloss, activation, dtype, precision):
    one, other = agents(Discrete(2), activation, dtype)
    obs, returns = draws(dtype, B, 4), draws(dtype, B, seed=1)
    old = (other.value(obs) + draws(dtype, B, seed=2)).detach()
    terms = (returns, old, CLIP) if clip_vloss else (returns,)
    loss = losses.clipped_value_loss if clip_vloss else losses.value_loss
    loss_gradient = losses.clipped_value_loss_gradient if clip_vloss else losses.value_loss_gradient

    loss(other.value(obs), *terms).backward()

    with torch.no_grad():
        outputs, to_weights = one.critic.with_backward(obs)
        to_weights(loss_gradient(outputs.squeeze(-1), *terms).unsqueeze(-1))
    assert not any(parameter.grad.any() for parameter in one.actor.parameters())
    for parameter in one.actor.parameters():
        parameter.grad = None
    assert_equal(gradients(one), gradients(other), precision)


def by_autograd(loss, *terms):
    first, *others = terms
    first = first.clone().requires_grad_()
    loss(first, *others).backward()
    return first.grad


@pytest.mark.parametrize("advantage", [-2.0, -1.0, 0.0, 1.0])
def test_of_the_policy_loss_on_the_edges_of_the_clip(advantage):
    # 0.75 and 1.25 are ratios that 1 ± 0.25 meets exactly
    log_ratio = torch.tensor([0.5, 0.75, 1.0, 1.25, 2.0], dtype=torch.float64).log()
    terms = log_ratio, torch.full((5,), advantage, dtype=torch.float64), 0.25
    assert_equal(losses.policy_loss_gradient(*terms), by_autograd(losses.policy_loss, *terms), 1e-12)


def test_of_the_policy_loss_where_a_clipped_ratio_is_infinite():
    terms = torch.tensor([1000.0, 0.0]), torch.tensor([1.0, 1.0]), 0.2
    assert losses.policy_loss_gradient(*terms).tolist() == [0.0, -0.5]


def test_of_the_clipped_value_loss_in_ties_and_on_its_edges():
    old = torch.zeros(7, dtype=torch.float64)
    values = torch.tensor([0.5, -0.5, 1.0, 1.0, 1.0, -1.0, 0.0], dtype=torch.float64)  # moved by 1 where 0.5 is allowed
    returns = torch.tensor([2.0, 2.0, 0.75, 0.7, 0.8, -0.75, 1.0], dtype=torch.float64)  # 0.75: a tie
    terms = values, returns, old, 0.5
    found = losses.clipped_value_loss_gradient(*terms)
    assert_equal(found, by_autograd(losses.clipped_value_loss, *terms), 1e-12)
    assert found[2] == pytest.approx(0.5 * 2 * 0.25 / 7)


def test_what_is_written_out_is_what_the_modules_do():
    agent, _ = agents(Discrete(3), "gelu", torch.float32)
    obs = draws(torch.float32, B, 4)
    one_by_one = Network(*agent.actor)
    torch.testing.assert_close(agent.actor(obs), one_by_one(obs), rtol=0, atol=0)
    torch.testing.assert_close(agent.actor.with_backward(obs)[0], one_by_one(obs), rtol=0, atol=0)


def test_any_other_network_is_differentiated_by_autograd():
    network = Network(torch.nn.Conv1d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4, 3))
    obs, gradient = draws(torch.float32, B, 1, 4), draws(torch.float32, B, 3, seed=1)
    expected = torch.autograd.grad(network(obs), list(network.parameters()), gradient)
    with torch.no_grad():
        outputs, to_weights = network.with_backward(obs)
        assert not outputs.requires_grad
        for _ in range(2):  # it adds to what is there
            outputs, to_weights = network.with_backward(obs)
            to_weights(gradient)
    for parameter, once in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * once)


def test_the_written_out_gradient_is_added_to_what_is_there():
    agent, _ = agents(Continuous((True,)), "tanh", torch.float64)
    obs, actions = draws(torch.float64, B, 4), draws(torch.float64, B, 1, seed=1)

    def add():
        with torch.no_grad():
            outputs, to_weights = agent.actor.with_backward(obs)
            _, _, to_outputs = agent.distribution.with_backward(outputs, actions)
            to_weights(to_outputs(draws(torch.float64, B, seed=2), 0.5))
        return gradients(agent)

    assert_equal(add(), add() / 2, 1e-12)
