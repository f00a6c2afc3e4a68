"""The losses against worked arithmetic."""

import math

import pytest
import torch

from ppocli.algorithm.losses import (
    approx_kl,
    clip_fraction,
    clipped_value_loss,
    explained_variance,
    normalize,
    policy_loss,
    value_loss,
)


def test_policy_loss_by_hand():
    # min(ρA, clip(ρ)A): min(1.5, 1.2), min(-0.5, -0.8), min(-1.5, -1.2), min(0.5, 0.8): the clip only ever lowers
    ratios, advantages = torch.tensor([1.5, 0.5, 1.5, 0.5]), torch.tensor([1.0, -1.0, -1.0, 1.0])
    assert policy_loss(ratios.log(), advantages, 0.2).item() == pytest.approx(-(1.2 - 0.8 - 1.5 + 0.5) / 4)


def test_value_loss_by_hand():
    values, returns = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.0, 2.0, 5.0, 4.0])
    assert value_loss(values, returns).item() == pytest.approx((1 + 0 + 4 + 0) / 4)


def test_clipped_value_loss_by_hand():
    values, old = torch.tensor([1.0, 3.0, 0.4]), torch.tensor([0.0, 0.0, 0.5])
    returns = torch.tensor([2.0, 2.0, 0.0])
    # moved by 1, 3 and -0.1 where 0.5 are allowed: the larger of (V − R)² and (V clipped − R)²
    worse = [max(1, 1.5**2), max(1, 1.5**2), 0.4**2]
    assert clipped_value_loss(values, returns, old, 0.5).item() == pytest.approx(sum(worse) / 3)


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
    expected = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
    torch.testing.assert_close(normalize(rows), expected)
    torch.testing.assert_close(normalize(rows[1]), expected[1])
    torch.testing.assert_close(normalize(torch.stack([rows, 2 * rows])), torch.stack([expected, expected]))


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, 2.0, 3.0], 1.0), ([2.0, 2.0, 2.0], 0.0), ([3.0, 2.0, 1.0], -3.0)]
)
def test_explained_variance(values, expected):
    assert explained_variance(torch.tensor(values), torch.tensor([1.0, 2.0, 3.0])) == pytest.approx(expected)


def test_explained_variance_of_equal_returns_is_a_number():
    assert explained_variance(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 5.0])) == 0.0


ARGUMENTS = [
    (lambda *tensors: policy_loss(*tensors, 0.2), 2),
    (value_loss, 2),
    (lambda *tensors: clipped_value_loss(*tensors, 0.2), 3),
    (explained_variance, 2),
]


@pytest.mark.parametrize(
    ("function", "wrong"), [(each, place) for each, number in ARGUMENTS for place in range(number)]
)
def test_a_column_beside_a_row_is_refused(function, wrong):
    """Broadcast against each other they would be (B, B), and give a number all the same."""
    tensors = [torch.rand(4) for _ in range(dict(ARGUMENTS)[function])]
    function(*tensors)
    tensors[wrong] = tensors[wrong].unsqueeze(-1)
    with pytest.raises(AssertionError, match=r"one number a sample, each \(B,\), and not .*\(4, 1\)"):
        function(*tensors)


@pytest.mark.parametrize(("function", "number"), ARGUMENTS)
@pytest.mark.parametrize("shape", [(), (4, 1), (2, 2)])
def test_what_is_not_one_number_a_sample_is_refused(function, number, shape):
    with pytest.raises(AssertionError, match="one number a sample"):
        function(*torch.rand(number, *shape))


@pytest.mark.parametrize(("function", "number"), ARGUMENTS)
def test_batches_of_other_sizes_are_refused(function, number):
    with pytest.raises(AssertionError, match="one number a sample"):
        function(torch.rand(1), *torch.rand(number - 1, 4))
