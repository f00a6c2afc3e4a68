"""What updates have in common: a policy gradient, how far the policy has moved, the critic's regression."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ppocli.algorithm import losses
from ppocli.algorithm.adam import Adam
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.distributions import Snapshot
from ppocli.algorithm.memory import Sequences
from ppocli.algorithm.rollout import Batch, minibatches
from ppocli.algorithm.updates.api import UpdateMetrics
from ppocli.algorithm.weights import Weights
from ppocli.config.sections import UpdateConfig
from ppocli.errors import NonFiniteError


def as_learned_from(agent: Agent, batch: Batch, *, norm_adv: bool) -> Batch:
    """Return a batch with its observations as both networks take them and, with `norm_adv`, advantages alike."""
    advantages = losses.normalize(batch.advantages) if norm_adv else batch.advantages
    return replace(batch, obs=agent.seen(batch.obs), advantages=advantages)


def policy_gradient(agent: Agent, policy: Weights, batch: Batch, ent_coef: float) -> tuple[Tensor, Tensor]:
    """Leave in `policy.gradient` that of −E[log π(a) A] − ent_coef · E[H]; return log-probs (B,) and entropies (B,).

    The policy gradient theorem, Sutton et al. 2000, with A in the place of the return. It is the gradient of −E[ρ A],
    too, where the policy is still the one that acted. Observations are as `as_learned_from` has them, here and below.
    """
    policy.zero_gradient()
    outputs, to_weights = agent.actor.with_backward(batch.obs)
    log_probs, entropies, to_outputs = agent.distribution.with_backward(outputs, batch.actions)
    to_weights(to_outputs(losses.log_prob_loss_gradient(log_probs, batch.advantages), -ent_coef / len(outputs)))
    return log_probs, entropies


def surrogate(agent: Agent, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return −E[ρ A] and E[H] of the policy as it is now, arXiv:1502.05477 eq. 14; scalars."""
    log_probs, entropies, _ = agent.distribution.with_backward(agent.actor(batch.obs), batch.actions)
    return losses.surrogate_loss(log_probs - batch.log_probs, batch.advantages), entropies.mean()


def policy_at(agent: Agent, seen: Tensor | Sequences) -> Snapshot:
    """Return what the policy is now at B observations as networks take them."""
    return agent.distribution.snapshot(agent.actor(agent.trunk(seen)))


def moved(agent: Agent, seen: Tensor | Sequences, before: Snapshot) -> Tensor:
    """Return how far the policy has moved at B observations: E[KL(π_before ‖ π_now)], a scalar."""
    return agent.distribution.kl(before, policy_at(agent, seen)).mean()


def fit_critic(
    agent: Agent, critic: Adam, batch: Batch, shared: UpdateConfig, learning_rate: float, rng: np.random.Generator
) -> UpdateMetrics:
    """Let the critic learn the returns in `update_epochs` passes of minibatches; return what the metrics say of it."""
    found = []
    for _ in range(shared.update_epochs):
        for minibatch in minibatches(batch, shared.minibatch_size, rng, norm_adv=False):
            critic.weights.zero_gradient()
            outputs, to_weights = agent.critic.with_backward(minibatch.obs)
            values = outputs.squeeze(-1)
            to_weights(losses.value_loss_gradient(values, minibatch.returns).unsqueeze(-1))
            critic.weights.clip_gradient(shared.max_grad_norm)
            critic.step(learning_rate)
            found.append(losses.value_loss(values, minibatch.returns))
    return UpdateMetrics(
        learning_rate=learning_rate,
        value_loss=float(torch.stack(found).mean()),
        explained_variance=losses.explained_variance(batch.values, batch.returns),
        value_target_std=float(batch.returns.std()),
    )


def check_finite(metrics: UpdateMetrics, *state: Tensor) -> None:
    """Raise NonFiniteError unless what an update did, and the state that the next one builds on, are finite."""
    means = {
        "policy loss": metrics.policy_loss,
        "entropy": metrics.entropy,
        "value loss": metrics.value_loss,
        "gradient": metrics.gradient_norm,
        "KL": metrics.kl,
    }
    wrong = [name for name, mean in means.items() if mean is not None and not math.isfinite(mean)]
    if wrong or not all(bool(tensor.isfinite().all()) for tensor in state):
        raise NonFiniteError(
            f"no longer a finite number: {', '.join(wrong) or 'weights'}; "
            "a lower update.learning_rate, target_kl or rollout.reward_scale usually helps"
        )
