"""The optimizer: Adam over all weights as one vector."""

from typing import Any

import torch
from torch import Tensor

from ppocli.algorithm.weights import Weights

_SETTINGS: Any = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-5, "weight_decay": 0.0, "amsgrad": False, "maximize": False}


class Adam:
    """Adam, arXiv:1412.6980 algorithm 1, a few operations a step, however many layers there are.

    PyTorch's own optimizers call the same operation, but importing them brings in its compiler, which takes longer than
    a hundred updates.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(weights.values), torch.zeros_like(weights.values)
        self.steps = torch.zeros((), dtype=torch.float32, device=weights.values.device)

    def step(self, learning_rate: float) -> None:
        """Move the weights against their gradient."""
        self.steps += 1
        values, gradient = [self.weights.values], [self.weights.gradient]
        moments = [self.exp_avg], [self.exp_avg_sq]
        torch._fused_adam_(values, gradient, *moments, [], [self.steps], lr=learning_rate, **_SETTINGS)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that outlives a step, itself and no copy."""
        return {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq, "steps": self.steps}
