"""The optimizer against PyTorch's own."""

import pytest
import torch

from ppocli.algorithm.adam import Adam
from ppocli.errors import NonFiniteError


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
        state = Adam(network).state_dict()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_the_steps_are_those_of_torch():
    ours, theirs = make_networks()
    adam, reference = Adam(ours), torch.optim.Adam(theirs.parameters(), eps=1e-5)
    for step in range(20):
        learning_rate = 1e-2 / (1 + step)
        adam.zero_gradient()
        loss(ours, step).backward()
        adam.step(learning_rate)
        reference.param_groups[0]["lr"] = learning_rate
        reference.zero_grad()
        loss(theirs, step).backward()
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["weights", "exp_avg", "exp_avg_sq"])
def test_a_state_that_is_not_finite_is_found(name):
    adam = Adam(make_networks()[0])
    adam.check_finite({"policy loss": 1.0})
    getattr(adam, name)[7] = torch.inf
    with pytest.raises(NonFiniteError, match=r"^no longer a finite number: weights; a lower update.learning_rate or "):
        adam.check_finite({"policy loss": 1.0})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_means_that_are_not_finite_are_named(number):
    adam = Adam(make_networks()[0])
    with pytest.raises(NonFiniteError, match=r"^no longer a finite number: value loss, gradient; "):
        adam.check_finite({"policy loss": 1.0, "value loss": number, "entropy": 0.0, "gradient": number})


@pytest.mark.parametrize("max_norm", [0.01, 1e6])
def test_clipping_is_that_of_torch(max_norm):
    ours, theirs = make_networks()
    adam = Adam(ours)
    loss(ours, 0).backward()
    loss(theirs, 0).backward()
    norm = adam.clip_gradient(max_norm)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_norm))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_without_a_limit_nothing_is_clipped():
    ours, theirs = make_networks()
    adam = Adam(ours)
    (1e6 * loss(ours, 0)).backward()
    (1e6 * loss(theirs, 0)).backward()
    norm = adam.clip_gradient(None)
    assert norm > 1e6
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert one.grad.equal(other.grad)


def test_a_gradient_that_was_forgotten_is_zero_and_still_the_parameters_own():
    network, _ = make_networks()
    adam = Adam(network)
    loss(network, 0).backward()
    assert adam.gradient.any()
    adam.zero_gradient()
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
    adam = Adam(network)
    adam.assert_holds_parameters()
    leave(network)
    with pytest.raises(AssertionError, match="the parameters have left the optimizer"):
        adam.assert_holds_parameters()


def test_parameters_that_are_only_overwritten_have_not_left():
    network, other = make_networks()
    adam = Adam(network)
    network.load_state_dict({name: tensor + 1 for name, tensor in other.state_dict().items()})
    network.to("cpu", torch.float32)
    adam.assert_holds_parameters()
    assert torch.equal(adam.weights, torch.nn.utils.parameters_to_vector(other.parameters()) + 1)
