"""What updates have in common."""

import pytest
import torch

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.rollout import Batch
from ppocli.algorithm.updates.api import UpdateMetrics
from ppocli.algorithm.updates.shared import as_learned_from, check_finite
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Discrete, Vector
from ppocli.errors import NonFiniteError


@pytest.mark.parametrize("which", [0, 1])
def test_a_state_that_is_not_finite_is_found(which):
    metrics, state = UpdateMetrics(learning_rate=1.0, policy_loss=1.0), [torch.zeros(9), torch.zeros(())]
    check_finite(metrics, *state)
    state[which].view(-1)[-1] = torch.inf
    with pytest.raises(
        NonFiniteError, match=r"^no longer a finite number: weights; a lower update.learning_rate, target_kl or "
    ):
        check_finite(metrics, *state)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_means_that_are_not_finite_are_named(number):
    metrics = UpdateMetrics(learning_rate=1.0, policy_loss=1.0, value_loss=number, entropy=0.0, gradient_norm=number)
    with pytest.raises(NonFiniteError, match=r"^no longer a finite number: value loss, gradient; "):
        check_finite(metrics)


@pytest.mark.parametrize("norm_adv", [False, True])
def test_updates_learn_from_what_networks_see_and_from_advantages_alike_where_they_are_to_be(norm_adv):
    agent = Agent(Vector(2), Discrete(2), NetworkConfig(hidden_sizes=()), torch.Generator().manual_seed(0))
    agent.learn_obs(torch.tensor([[0.0, 10.0], [2.0, 30.0]]))  # means 1 and 20, standard deviations 1 and 10
    nothing = torch.zeros(2)
    batch = Batch(torch.tensor([[2.0, 0.0], [1.0, 30.0]]), nothing, nothing, nothing, torch.tensor([3.0, 7.0]), nothing)
    found = as_learned_from(agent, batch, norm_adv=norm_adv)
    torch.testing.assert_close(found.obs, torch.tensor([[1.0, -2.0], [0.0, 1.0]]))
    expected = [-(0.5**0.5), 0.5**0.5] if norm_adv else [3.0, 7.0]
    assert found.advantages.tolist() == pytest.approx(expected)
