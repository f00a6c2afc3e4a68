"""The optimizer, and the weights that it moves, against PyTorch's own."""

import pytest
import torch

from ppocli.algorithm.adam import Adam
from ppocli.algorithm.weights import Weights


def make_networks():
    networks = [torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 1)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    return networks


def loss(network, step):
    inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
    return (network(inputs) - inputs.sum(1, keepdim=True)).square().mean()


def test_the_default_type_of_a_program_changes_nothing():
    network = make_networks()[0]
    torch.set_default_dtype(torch.float64)
    try:
        state = Adam(Weights(network)).state_dict()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_the_steps_are_those_of_torch():
    ours, theirs = make_networks()
    adam, reference = Adam(Weights(ours)), torch.optim.Adam(theirs.parameters(), eps=1e-5)
    for step in range(20):
        learning_rate = 1e-2 / (1 + step)
        adam.weights.zero_gradient()
        loss(ours, step).backward()
        adam.step(learning_rate)
        reference.param_groups[0]["lr"] = learning_rate
        reference.zero_grad()
        loss(theirs, step).backward()
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("max_norm", [0.01, 1e6])
def test_clipping_is_that_of_torch(max_norm):
    ours, theirs = make_networks()
    adam = Adam(Weights(ours))
    loss(ours, 0).backward()
    loss(theirs, 0).backward()
    norm = adam.weights.clip_gradient(max_norm)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_norm))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_without_a_limit_nothing_is_clipped():
    ours, theirs = make_networks()
    adam = Adam(Weights(ours))
    (1e6 * loss(ours, 0)).backward()
    (1e6 * loss(theirs, 0)).backward()
    norm = adam.weights.clip_gradient(None)
    assert norm > 1e6
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert one.grad.equal(other.grad)


def test_a_gradient_that_was_forgotten_is_zero_and_still_the_parameters_own():
    network, _ = make_networks()
    adam = Adam(Weights(network))
    loss(network, 0).backward()
    assert adam.weights.gradient.any()
    adam.weights.zero_gradient()
    assert not any(parameter.grad.any() for parameter in network.parameters())


def other_memory(network):
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()


def one_parameter_elsewhere(network):
    network[1].bias.data = network[1].bias.data.clone()


def no_gradient(network):
    network.zero_grad(set_to_none=True)


def other_gradient(network):
    network[1].weight.grad = network[1].weight.grad.clone()


@pytest.mark.parametrize(
    "leave", [torch.nn.Module.double, other_memory, one_parameter_elsewhere, no_gradient, other_gradient]
)
def test_parameters_that_have_left_the_optimizer_are_noticed(leave):
    network, _ = make_networks()
    adam = Adam(Weights(network))
    adam.weights.assert_holds_parameters()
    leave(network)
    with pytest.raises(AssertionError, match="the parameters have left the vector"):
        adam.weights.assert_holds_parameters()


def test_parameters_that_are_only_overwritten_have_not_left():
    network, other = make_networks()
    adam = Adam(Weights(network))
    network.load_state_dict({name: tensor + 1 for name, tensor in other.state_dict().items()})
    network.to("cpu", torch.float32)
    adam.weights.assert_holds_parameters()
    assert torch.equal(adam.weights.values, torch.nn.utils.parameters_to_vector(other.parameters()) + 1)
