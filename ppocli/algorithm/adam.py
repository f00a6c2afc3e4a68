"""The optimizer: Adam over all weights as one vector."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-5


class Adam:
    """Adam, arXiv:1412.6980 algorithm 1. The parameters and their gradients become views of one vector each.

    A step is then a few operations on two vectors, however many layers there are. PyTorch's own optimizers do the same
    arithmetic, but importing them brings in its compiler, which takes longer than a hundred updates.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        parameters = list(parameters)
        self.weights = parameters_to_vector(parameters).detach()
        vector_to_parameters(self.weights, parameters)
        self.gradient = torch.zeros_like(self.weights)
        parts = torch.split(self.gradient, [parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        self.exp_avg = torch.zeros_like(self.weights)
        self.exp_avg_sq = torch.zeros_like(self.weights)
        self.steps = 0

    def zero_gradient(self) -> None:
        """Forget the gradient; backward passes add to it."""
        self.gradient.zero_()

    def clip_gradient(self, max_norm: float) -> Tensor:
        """Shorten the gradient to `max_norm` where it is longer; return its norm before that, a scalar."""
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        self.gradient.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the weights against the gradient."""
        self.steps += 1
        self.exp_avg.lerp_(self.gradient, 1 - BETA1)
        self.exp_avg_sq.mul_(BETA2).addcmul_(self.gradient, self.gradient, value=1 - BETA2)
        deviation = (self.exp_avg_sq / (1 - BETA2**self.steps)).sqrt_().add_(EPSILON)
        self.weights.addcdiv_(self.exp_avg, deviation, value=-learning_rate / (1 - BETA1**self.steps))

    def is_finite(self) -> bool:
        """Return whether all weights, and all that the next step will build on, are finite numbers."""
        return all(bool(tensor.isfinite().all()) for tensor in (self.weights, self.exp_avg, self.exp_avg_sq))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that outlives a step."""
        return {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq, "steps": torch.tensor(self.steps)}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state that `state_dict` returned."""
        self.exp_avg.copy_(tensors["exp_avg"])
        self.exp_avg_sq.copy_(tensors["exp_avg_sq"])
        self.steps = max(0, int(tensors["steps"]))
