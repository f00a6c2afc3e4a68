"""The optimizer: Adam over all weights as one vector."""

import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ppocli.errors import NonFiniteError

_SETTINGS: Any = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-5, "weight_decay": 0.0, "amsgrad": False, "maximize": False}
_LEFT = "the parameters have left the optimizer, which would move what nobody reads"


class Adam:
    """Adam, arXiv:1412.6980 algorithm 1. The parameters and their gradients become views of one vector each.

    A step is then a few operations on two vectors, however many layers there are. Whatever gives the parameters other
    memory (`module.to`, `load_state_dict(assign=True)`) must come before, and is asserted not to come after. PyTorch's
    own optimizers call the same operation, but importing them brings in its compiler, which takes longer than a hundred
    updates.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, self._parameters = module, list(module.parameters())
        parameters = self._parameters
        self.weights = parameters_to_vector(parameters).detach()
        vector_to_parameters(self.weights, parameters)
        self.gradient = torch.zeros_like(self.weights)
        parts = torch.split(self.gradient, [parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        self.steps = torch.zeros((), dtype=torch.float32, device=self.weights.device)

    def zero_gradient(self) -> None:
        """Forget the gradient; backward passes add to it."""
        self.gradient.zero_()

    def assert_holds_parameters(self) -> None:
        """Assert that the module's parameters, and their gradients, are still views of the vectors."""
        assert all(map(operator.is_, self._parameters, self._module.parameters())), _LEFT
        places = [self.weights.data_ptr(), self.gradient.data_ptr()]
        for parameter in self._parameters:
            gradient = parameter.grad
            assert gradient is not None, _LEFT
            assert [parameter.data_ptr(), gradient.data_ptr()] == places, _LEFT
            places = [place + parameter.numel() * parameter.element_size() for place in places]

    def clip_gradient(self, max_norm: float | None) -> Tensor:
        """Shorten the gradient to `max_norm` where it is longer; return its norm before that, a scalar."""
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        if max_norm is not None:
            self.gradient.div_((norm / max_norm).clamp_(min=1.0))
        return norm

    def step(self, learning_rate: float) -> None:
        """Move the weights against the gradient."""
        self.steps += 1
        moments = [self.exp_avg], [self.exp_avg_sq]
        torch._fused_adam_([self.weights], [self.gradient], *moments, [], [self.steps], lr=learning_rate, **_SETTINGS)

    def check_finite(self, means: Mapping[str, float]) -> None:
        """Raise NonFiniteError unless the `means` of an update, its weights and what the next builds on are finite."""
        wrong = [name for name, number in means.items() if not math.isfinite(number)]
        if wrong or not all(bool(tensor.isfinite().all()) for tensor in (self.weights, self.exp_avg, self.exp_avg_sq)):
            raise NonFiniteError(
                f"no longer a finite number: {', '.join(wrong) or 'weights'}; "
                "a lower update.learning_rate or rollout.reward_scale usually helps"
            )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that outlives a step, itself and no copy."""
        return {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq, "steps": self.steps}
