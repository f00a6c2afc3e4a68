"""Proximal policy optimisation with the clipped objective, arXiv:1707.06347."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ppocli.algorithm.adam import Adam
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.rollout import Batch
from ppocli.errors import TrainingError


@dataclass(frozen=True)
class UpdateMetrics:
    """What an update did: means over its minibatches, except `explained_variance`."""

    policy_loss: float
    value_loss: float
    entropy: float
    gradient_norm: float
    """Global norm, before clipping."""
    approx_kl: float
    clip_fraction: float
    explained_variance: float
    """1 − Var(returns − values) / Var(returns), of the values that the rollout was judged with."""


def policy_loss(log_ratio: Tensor, advantages: Tensor, clip_coef: float) -> Tensor:
    """The clipped objective, to be minimised, arXiv:1707.06347 eq. 7; a scalar from two tensors (B,).

    −E[min(ρ A, clip(ρ, 1−ε, 1+ε) A)],  ρ = exp(log_ratio) = π / π_old
    """
    ratio = log_ratio.exp()
    return -torch.min(ratio * advantages, ratio.clamp(1 - clip_coef, 1 + clip_coef) * advantages).mean()


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """The critic's squared error, arXiv:1707.06347 eq. 9, E[(V − returns)²]; a scalar from two tensors (B,)."""
    return (values - returns).square().mean()


def clipped_value_loss(values: Tensor, returns: Tensor, old_values: Tensor, clip_coef: float) -> Tensor:
    """The critic's squared error where it may not gain by moving further than ε; a scalar from three tensors (B,).

    E[max((V − returns)², (V_old + clip(V − V_old, −ε, ε) − returns)²)], as in OpenAI's own code; arXiv:2005.12729 §3.
    """
    clipped = old_values + (values - old_values).clamp(-clip_coef, clip_coef)
    return torch.max((values - returns).square(), (clipped - returns).square()).mean()


def approx_kl(log_ratio: Tensor) -> float:
    """How far the policy has moved: E[(ρ − 1) − log ρ], an estimate of the KL that is unbiased and never negative."""
    return float((log_ratio.exp() - 1 - log_ratio).mean())


def clip_fraction(log_ratio: Tensor, clip_coef: float) -> float:
    """The share of samples whose ρ lies outside 1 ± ε."""
    return float(((log_ratio.exp() - 1).abs() > clip_coef).float().mean())


def normalize(advantages: Tensor) -> Tensor:
    """Shift and scale advantages (..., B) to mean 0 and standard deviation 1, row by row."""
    return (advantages - advantages.mean(-1, keepdim=True)) / (advantages.std(-1, keepdim=True) + 1e-8)


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 − Var(returns − values) / Var(returns): 1 is a perfect critic, 0 a constant one; 0 where returns are equal."""
    variance = returns.var()
    return float(1 - (returns - values).var() / variance) if variance > 0 else 0.0


class PPO:
    """The update: turns batches into better weights of `agent`. Holds the optimizer's state, which outlives a batch."""

    def __init__(
        self,
        agent: Agent,
        *,
        minibatch_size: int,
        update_epochs: int,
        vf_coef: float,
        max_grad_norm: float | None = None,
        norm_adv: bool = True,
        clip_vloss: bool = False,
        target_kl: float | None = None,
    ) -> None:
        self.agent = agent
        self.minibatch_size = minibatch_size
        self.update_epochs = update_epochs
        self.vf_coef = vf_coef
        self.max_grad_norm = math.inf if max_grad_norm is None else max_grad_norm
        self.norm_adv = norm_adv
        self.clip_vloss = clip_vloss
        self.target_kl = math.inf if target_kl is None else target_kl
        self.optimizer = Adam(agent.parameters())

    def update(
        self, batch: Batch, *, learning_rate: float, clip_coef: float, ent_coef: float, rng: np.random.Generator
    ) -> UpdateMetrics:
        """Learn from a batch for `update_epochs` passes, each over a fresh permutation of it drawn from `rng`.

        A pass in which the policy has moved further than `target_kl` (see `approx_kl`) is the last.

        A minibatch's loss is arXiv:1707.06347 eq. 9, to be minimised:

            policy_loss + vf_coef · value_loss − ent_coef · E[entropy]

        Actor and critic share no weights, so that its gradient has two halves that know nothing of each other: they are
        computed side by side, in two threads. The order in which they end changes no bit of the result.

        Raises TrainingError when a loss or a gradient is not finite; the weights are then worthless.
        """
        history: list[Tensor] = []
        log_ratios: list[Tensor] = []

        def actor_gradient(
            obs: Tensor, actions: Tensor, log_probs: Tensor, advantages: Tensor
        ) -> tuple[Tensor, Tensor]:
            new_log_probs, entropies = self.agent.log_prob_and_entropy(obs, actions)
            log_ratio = new_log_probs - log_probs
            loss, entropy = policy_loss(log_ratio, advantages, clip_coef), entropies.mean()
            (loss - ent_coef * entropy).backward()  # type: ignore[no-untyped-call]
            log_ratios.append(log_ratio.detach())
            return loss.detach(), entropy.detach()

        def critic_gradient(obs: Tensor, returns: Tensor, old_values: Tensor) -> Tensor:
            values = self.agent.value(obs)
            if self.clip_vloss:
                loss = clipped_value_loss(values, returns, old_values, clip_coef)
            else:
                loss = value_loss(values, returns)
            (self.vf_coef * loss).backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        with ThreadPoolExecutor(max_workers=1, initializer=torch.set_num_threads, initargs=(1,)) as second_thread:
            for _ in range(self.update_epochs):
                order = torch.from_numpy(rng.permutation(len(batch.obs))).to(batch.obs.device)
                minibatches = self._minibatches(batch, order)
                for obs, actions, log_probs, advantages, returns, values in minibatches:
                    self.optimizer.zero_gradient()
                    critic = second_thread.submit(critic_gradient, obs, returns, values)
                    actor = actor_gradient(obs, actions, log_probs, advantages)
                    history.append(torch.stack([*actor, critic.result(), self._step(learning_rate)]))
                num_minibatches = len(batch.obs) // self.minibatch_size
                if self.target_kl < math.inf and approx_kl(torch.stack(log_ratios[-num_minibatches:])) > self.target_kl:
                    break
        # Only now, so that a GPU is not waited for in every minibatch.
        loss, entropy, value, gradient_norm = torch.stack(history).mean(0).tolist()
        means = {"policy loss": loss, "entropy": entropy, "value loss": value, "gradient": gradient_norm}
        wrong = [name for name, number in means.items() if not math.isfinite(number)]
        if wrong or not self.optimizer.is_finite():
            raise TrainingError(
                f"no longer a finite number: {', '.join(wrong) or 'weights'}; "
                "a lower ppo.learning_rate or ppo.reward_scale usually helps"
            )
        log_ratio = torch.stack(log_ratios)
        return UpdateMetrics(
            policy_loss=loss,
            value_loss=value,
            entropy=entropy,
            gradient_norm=gradient_norm,
            approx_kl=approx_kl(log_ratio),
            clip_fraction=clip_fraction(log_ratio, clip_coef),
            explained_variance=explained_variance(batch.values, batch.returns),
        )

    def _minibatches(self, batch: Batch, order: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield (obs, actions, log_probs, advantages, returns, values) of one minibatch after the other."""
        advantages = batch.advantages[order]
        if self.norm_adv:
            advantages = normalize(advantages.view(-1, self.minibatch_size)).flatten()
        others = (tensor[order] for tensor in (batch.obs, batch.actions, batch.log_probs, batch.returns, batch.values))
        obs, actions, log_probs, returns, values = others
        shuffled = (obs, actions, log_probs, advantages, returns, values)
        return zip(*(torch.split(tensor, self.minibatch_size) for tensor in shuffled), strict=True)

    def _step(self, learning_rate: float) -> Tensor:
        """Take a step along the clipped gradient; return its norm before clipping."""
        gradient_norm = self.optimizer.clip_gradient(self.max_grad_norm)
        self.optimizer.step(learning_rate)
        return gradient_norm

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state that `state_dict` returned."""
        self.optimizer.load_state_dict(tensors)
