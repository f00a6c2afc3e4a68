"""What updates have in common."""

import pytest
import torch

from ppocli.algorithm.updates.api import UpdateMetrics
from ppocli.algorithm.updates.shared import check_finite
from ppocli.errors import NonFiniteError


@pytest.mark.parametrize("which", [0, 1])
def test_a_state_that_is_not_finite_is_found(which):
    metrics, state = UpdateMetrics(learning_rate=1.0, policy_loss=1.0), [torch.zeros(9), torch.zeros(())]
    check_finite(metrics, *state)
    state[which].view(-1)[-1] = torch.inf
    with pytest.raises(NonFiniteError, match=r"^no longer a finite number: weights; a lower update.learning_rate or "):
        check_finite(metrics, *state)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_means_that_are_not_finite_are_named(number):
    metrics = UpdateMetrics(learning_rate=1.0, policy_loss=1.0, value_loss=number, entropy=0.0, gradient_norm=number)
    with pytest.raises(NonFiniteError, match=r"^no longer a finite number: value loss, gradient; "):
        check_finite(metrics)
