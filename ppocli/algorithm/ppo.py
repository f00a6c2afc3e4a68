"""Proximal policy optimisation with the clipped objective, arXiv:1707.06347."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.rollout import Batch
from ppocli.errors import TrainingError


class Losses(NamedTuple):
    """The parts of the loss, and how far the policy has moved; scalars."""

    total: Tensor
    policy_loss: Tensor
    value_loss: Tensor
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


@dataclass(frozen=True)
class UpdateMetrics:
    """What an update did: means over its minibatches, except `explained_variance`."""

    policy_loss: float
    value_loss: float
    entropy: float
    approx_kl: float
    clip_fraction: float
    gradient_norm: float
    """Global norm, before clipping."""
    explained_variance: float
    """1 − Var(returns − values) / Var(returns), of the values that the rollout was judged with."""


def ppo_loss(
    new_log_probs: Tensor,
    log_probs: Tensor,
    advantages: Tensor,
    new_values: Tensor,
    returns: Tensor,
    entropy: Tensor,
    *,
    clip_coef: float,
    vf_coef: float,
    ent_coef: float,
) -> Losses:
    """The loss to minimise, arXiv:1707.06347 eq. 7 and 9; all tensors are (B,).

        ρ = exp(log π − log π_old)
        policy loss = −E[min(ρ A, clip(ρ, 1−ε, 1+ε) A)]
        total = policy loss + vf_coef · E[(V − returns)²] − ent_coef · E[entropy]

    `approx_kl` is E[(ρ − 1) − log ρ], which is unbiased and never negative; `clip_fraction` the share of samples with ρ
    outside 1 ± ε.
    """
    log_ratio = new_log_probs - log_probs
    ratio = log_ratio.exp()
    policy_loss = -torch.min(ratio * advantages, ratio.clamp(1 - clip_coef, 1 + clip_coef) * advantages).mean()
    value_loss = (new_values - returns).square().mean()
    mean_entropy = entropy.mean()
    with torch.no_grad():
        approx_kl = (ratio - 1 - log_ratio).mean()
        clip_fraction = ((ratio - 1).abs() > clip_coef).float().mean()
    total = policy_loss + vf_coef * value_loss - ent_coef * mean_entropy
    return Losses(total, policy_loss, value_loss, mean_entropy, approx_kl, clip_fraction)


def normalize(advantages: Tensor) -> Tensor:
    """Shift and scale advantages (B,) to mean 0 and standard deviation 1."""
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 − Var(returns − values) / Var(returns): 1 is a perfect critic, 0 a constant one; 0 where returns are equal."""
    variance = returns.var()
    return float(1 - (returns - values).var() / variance) if variance > 0 else 0.0


class PPO:
    """The update: turns batches into better weights of `agent`. Holds the optimizer's state, which outlives a batch."""

    def __init__(
        self, agent: Agent, *, minibatch_size: int, update_epochs: int, vf_coef: float, max_grad_norm: float
    ) -> None:
        self.agent = agent
        self.minibatch_size = minibatch_size
        self.update_epochs = update_epochs
        self.vf_coef = vf_coef
        self.max_grad_norm = max_grad_norm
        self.optimizer = torch.optim.Adam(agent.parameters(), eps=1e-5, fused=True)

    def update(
        self, batch: Batch, *, learning_rate: float, clip_coef: float, ent_coef: float, rng: np.random.Generator
    ) -> UpdateMetrics:
        """Learn from a batch for `update_epochs` passes, each over a fresh permutation of it drawn from `rng`.

        Raises TrainingError when a loss or a gradient is not finite; the weights are then worthless.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        size = len(batch.obs)
        history: list[Tensor] = []
        for _ in range(self.update_epochs):
            order = torch.from_numpy(rng.permutation(size)).to(batch.obs.device)
            shuffled = (torch.split(tensor[order], self.minibatch_size) for tensor in _learned_from(batch))
            for obs, actions, log_probs, advantages, returns in zip(*shuffled, strict=True):
                new_log_probs, entropy = self.agent.log_prob_and_entropy(obs, actions)
                losses = ppo_loss(
                    new_log_probs,
                    log_probs,
                    normalize(advantages),
                    self.agent.value(obs),
                    returns,
                    entropy,
                    clip_coef=clip_coef,
                    vf_coef=self.vf_coef,
                    ent_coef=ent_coef,
                )
                self.optimizer.zero_grad()
                losses.total.backward()  # type: ignore[no-untyped-call]
                gradient_norm = nn.utils.clip_grad_norm_(self.agent.parameters(), self.max_grad_norm)
                self.optimizer.step()
                history.append(torch.stack([*losses[1:], gradient_norm]).detach())
        # Only now, so that a GPU is not waited for in every minibatch.
        means = torch.stack(history).mean(0).tolist()
        if not np.isfinite(means).all():
            raise TrainingError(
                "a loss or gradient is no longer a finite number; "
                "a lower ppo.learning_rate or ppo.reward_scale usually helps"
            )
        named = dict(zip((*Losses._fields[1:], "gradient_norm"), means, strict=True))
        return UpdateMetrics(**named, explained_variance=explained_variance(batch.values, batch.returns))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer's state as tensors named `<parameter>.<state>`."""
        return {
            f"{name}.{key}": value
            for name, parameter in self.agent.named_parameters()
            for key, value in self.optimizer.state[parameter].items()
        }

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state that `state_dict` returned."""
        parameters = dict(self.agent.named_parameters())
        for name, value in tensors.items():
            parameter, _, key = name.rpartition(".")
            self.optimizer.state[parameters[parameter]][key] = value.clone()


def _learned_from(batch: Batch) -> tuple[Tensor, ...]:
    return batch.obs, batch.actions, batch.log_probs, batch.advantages, batch.returns
