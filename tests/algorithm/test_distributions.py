"""Each distribution against `torch.distributions`, and its samples against itself."""

import numpy as np
import pytest
import torch

from ppocli.algorithm.distributions import Categorical, Gaussian, MultiCategorical, distribution_of
from ppocli.envs.api import Continuous, Discrete, MultiDiscrete

RNG = torch.Generator().manual_seed(0)
B = 50


def test_categorical_against_torch():
    logits, actions = torch.randn(B, 5, generator=RNG), torch.randint(5, (B,), generator=RNG)
    log_probs, entropies = Categorical(5).with_backward(logits, actions)[:2]
    reference = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(log_probs, reference.log_prob(actions))
    torch.testing.assert_close(entropies, reference.entropy())


def test_multi_categorical_against_torch():
    logits = torch.randn(B, 9, generator=RNG)
    actions = torch.stack([torch.randint(number, (B,), generator=RNG) for number in (2, 3, 4)], 1)
    log_probs, entropies = MultiCategorical((2, 3, 4)).with_backward(logits, actions)[:2]
    theirs = [torch.distributions.Categorical(logits=part) for part in (logits[:, :2], logits[:, 2:5], logits[:, 5:])]
    torch.testing.assert_close(log_probs, sum(one.log_prob(actions[:, part]) for part, one in enumerate(theirs)))
    torch.testing.assert_close(entropies, sum(one.entropy() for one in theirs))


def gaussian():
    distribution = Gaussian(3, 0.0)
    with torch.no_grad():
        distribution.log_std.copy_(torch.tensor([-1.0, 0.0, 0.7]))
    return distribution


def test_gaussian_against_torch():
    means, actions = torch.randn(B, 3, generator=RNG), 3 * torch.randn(B, 3, generator=RNG)
    distribution = gaussian()
    log_probs, entropies = distribution.with_backward(means, actions)[:2]
    reference = torch.distributions.Normal(means, distribution.log_std.exp())
    torch.testing.assert_close(log_probs, reference.log_prob(actions).sum(-1))
    torch.testing.assert_close(entropies, reference.entropy().sum(-1))


def test_gradients_reach_the_means_and_the_standard_deviations():
    means, actions = torch.randn(B, 3, generator=RNG).requires_grad_(), torch.randn(B, 3, generator=RNG)
    one, other = gaussian(), gaussian()
    sum(tensor.sum() for tensor in one.with_backward(means, actions)[:2]).backward()
    gradient, means.grad = means.grad, None
    reference = torch.distributions.Normal(means, other.log_std.exp())
    (reference.log_prob(actions).sum() + reference.entropy().sum()).backward()
    torch.testing.assert_close(gradient, means.grad)
    torch.testing.assert_close(one.log_std.grad, other.log_std.grad, rtol=1e-5, atol=1e-4)


def test_gaussian_samples_have_its_mean_and_standard_deviation():
    distribution = gaussian()
    noise = torch.from_numpy(distribution.draw_noise(np.random.default_rng(0), 100, 1000))
    assert noise.shape == (100, 1000, 3)
    samples = distribution.sample(torch.tensor([5.0, 0.0, -5.0]), noise).detach().flatten(0, 1)
    np.testing.assert_allclose(samples.mean(0), [5, 0, -5], atol=0.03)
    np.testing.assert_allclose(samples.std(0), np.exp([-1, 0, 0.7]), rtol=0.01)


def test_multi_categorical_samples_follow_the_probabilities():
    distribution, logits = MultiCategorical((2, 3)), torch.tensor([0.0, 1.0, 0.0, 1.0, 2.0])
    noise = torch.from_numpy(distribution.draw_noise(np.random.default_rng(0), 100_000))
    samples = distribution.sample(logits.expand(100_000, 5), noise).numpy()
    for part, weights in enumerate((np.exp([0, 1]), np.exp([0, 1, 2]))):
        # 5 standard errors of a share of 100,000 draws are below 0.008
        np.testing.assert_allclose(np.bincount(samples[:, part]) / 100_000, weights / weights.sum(), atol=0.008)


@pytest.mark.parametrize("distribution", [Categorical(3), MultiCategorical((2, 3)), gaussian()], ids=lambda one: "")
def test_noise_is_of_the_precision_that_networks_have(distribution):
    noise = distribution.draw_noise(np.random.default_rng(0), 4, 5)
    assert (noise.dtype, noise.shape) == (np.float32, (4, 5, distribution.num_outputs))


def test_modes():
    assert MultiCategorical((2, 3)).mode(torch.tensor([[0.0, 1.0, 5.0, 3.0, 4.0]])).tolist() == [[1, 0]]
    means = torch.tensor([[0.1, -7.0, 2.0]])
    assert torch.equal(gaussian().mode(means), means)
    outputs = torch.tensor([[[0.0, 1.0, 5.0, 3.0, 4.0]], [[1.0, 0.0, 3.0, 5.0, 4.0]]])  # and any shape before them
    assert MultiCategorical((2, 3)).mode(outputs).tolist() == [[[1, 0]], [[0, 1]]]


@pytest.mark.parametrize(
    ("spec", "kind", "num_outputs"),
    [
        (Discrete(4), Categorical, 4),
        (MultiDiscrete((2, 3)), MultiCategorical, 5),
        (Continuous((True, False)), Gaussian, 2),
    ],
)
def test_each_kind_of_action_has_its_distribution(spec, kind, num_outputs):
    distribution = distribution_of(spec, -0.5)
    assert isinstance(distribution, kind)
    assert distribution.num_outputs == num_outputs
    if kind is Gaussian:
        assert distribution.log_std.tolist() == [-0.5, -0.5]
