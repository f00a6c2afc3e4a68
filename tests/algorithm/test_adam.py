"""The optimizer against PyTorch's own."""

import pytest
import torch

from ppocli.algorithm.adam import Adam


def make_networks():
    networks = [torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 1)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    return networks


def loss(network, step):
    inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
    return (network(inputs) - inputs.sum(1, keepdim=True)).square().mean()


def test_the_steps_are_those_of_torch():
    ours, theirs = make_networks()
    adam, reference = Adam(ours.parameters()), torch.optim.Adam(theirs.parameters(), eps=1e-5)
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
def test_what_is_not_finite_is_found(name):
    adam = Adam(make_networks()[0].parameters())
    assert adam.is_finite()
    getattr(adam, name)[7] = torch.inf
    assert not adam.is_finite()


@pytest.mark.parametrize("max_norm", [0.01, 1e6])
def test_clipping_is_that_of_torch(max_norm):
    ours, theirs = make_networks()
    adam = Adam(ours.parameters())
    loss(ours, 0).backward()
    loss(theirs, 0).backward()
    norm = adam.clip_gradient(max_norm)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_norm))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
