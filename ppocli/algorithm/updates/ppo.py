"""Proximal policy optimisation with the clipped objective, arXiv:1707.06347."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ppocli.algorithm import losses
from ppocli.algorithm.adam import Adam
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.rollout import Batch, minibatches
from ppocli.algorithm.updates.api import UpdateMetrics
from ppocli.algorithm.updates.shared import check_finite, moved, policy_at
from ppocli.algorithm.weights import Weights
from ppocli.config.sections import PPOConfig, UpdateConfig
from ppocli.config.values import value_at
from ppocli.device import SecondThread
from ppocli.envs.api import Pictures

LOOKED_AT = 5
"""One in so many pictures tells by how much the policy has moved: an odd number, or some environments tell nothing."""


class PPO:
    """PPO's update of `agent`; see `Update`."""

    def __init__(self, agent: Agent, shared: UpdateConfig, own: PPOConfig) -> None:
        self.agent = agent
        self.shared = shared
        self.own = own
        self.optimizer = Adam(Weights(agent))
        weights = sum(parameter.numel() for parameter in agent.critic.parameters())
        is_alone = agent.obs_spec.threads == 1
        self._second_thread = SecondThread(agent.device, shared.minibatch_size * weights * is_alone)

    @torch.no_grad()  # whatever an environment has set: the gradients are written out
    def update(self, batch: Batch, done: float, rng: np.random.Generator) -> UpdateMetrics:
        """Learn from a batch for `update_epochs` passes, each over a fresh permutation of it drawn from `rng`.

        A pass in which the policy has moved further than `target_kl` (see `approx_kl`) is the last. A minibatch's loss
        is arXiv:1707.06347 eq. 9, to be minimised:

            policy_loss + vf_coef · value_loss − ent_coef · E[entropy]

        Actor and critic share no weights, so that its gradient has two halves that know nothing of each other; large
        ones are computed side by side. The order in which they end changes no bit of the result. What is before both,
        the trunk that sees pictures and remembers, has the sum of what they pass on.
        """
        shared, optimizer, weights = self.shared, self.optimizer, self.optimizer.weights
        distribution = self.agent.distribution
        learning_rate, ent_coef = value_at(shared.learning_rate, done), value_at(shared.ent_coef, done)
        clip_coef, target_kl = value_at(self.own.clip_coef, done), self.own.target_kl
        weights.assert_holds_parameters()
        as_seen = replace(batch, obs=self.agent.seen(batch.obs))
        looked_at, outputs = as_seen.seen, batch.outputs
        if isinstance(self.agent.obs_spec, Pictures) and batch.states is None and outputs is not None:
            # To look once more at all pictures would take as long as to learn from a third of them.
            looked_at, outputs = as_seen.obs[::LOOKED_AT], outputs[::LOOKED_AT]
        before = policy_at(self.agent, looked_at) if outputs is None else distribution.snapshot(outputs)
        # Of each minibatch: log ratios, entropies, values, the gradient's norm; advantages, returns and old values.
        found: list[tuple[Tensor, ...]] = []
        for _ in range(shared.update_epochs):
            with self._second_thread.where_it_pays() as start:
                for minibatch in minibatches(as_seen, shared.minibatch_size, rng, norm_adv=shared.norm_adv):
                    weights.zero_gradient()
                    features, to_trunk = self.agent.trunk.with_backward(minibatch.seen)
                    critic = start(self._critic_gradient, features, minibatch, clip_coef)
                    *actor, by_actor = self._actor_gradient(features, minibatch, clip_coef, ent_coef)
                    values, by_critic = critic()
                    if by_actor is not None and by_critic is not None:
                        to_trunk(by_actor + by_critic)
                    results = *actor, values, weights.clip_gradient(shared.max_grad_norm)
                    optimizer.step(learning_rate)
                    found.append((*results, minibatch.advantages, minibatch.returns, minibatch.values))
            last = [log_ratio for log_ratio, *_ in found[-(len(batch.obs) // shared.minibatch_size) :]]
            if target_kl is not None and losses.approx_kl(torch.stack(last)) > target_kl:
                break

        metrics = self._metrics(batch, found, clip_coef, learning_rate)
        metrics = replace(metrics, kl=float(moved(self.agent, looked_at, before)))
        check_finite(metrics, *self.state_dict().values(), weights.values)
        return metrics

    def _actor_gradient(
        self, features: Tensor, minibatch: Batch, clip_coef: float, ent_coef: float
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Add the actor's gradient; return log ratios (B,), entropies (B,), and what it passes on to the trunk."""
        outputs, to_weights = self.agent.actor.with_backward(features)
        log_probs, entropies, to_outputs = self.agent.distribution.with_backward(outputs, minibatch.actions)
        log_ratio = log_probs - minibatch.log_probs
        by_log_prob = losses.policy_loss_gradient(log_ratio, minibatch.advantages, clip_coef)
        return log_ratio, entropies, to_weights(to_outputs(by_log_prob, -ent_coef / len(log_ratio)))

    def _critic_gradient(self, features: Tensor, minibatch: Batch, clip_coef: float) -> tuple[Tensor, Tensor | None]:
        """Add the critic's gradient; return its values (B,), and what it passes on to the trunk."""
        outputs, to_weights = self.agent.critic.with_backward(features)
        values = outputs.squeeze(-1)
        if self.own.clip_vloss:
            by_value = losses.clipped_value_loss_gradient(values, minibatch.returns, minibatch.values, clip_coef)
        else:
            by_value = losses.value_loss_gradient(values, minibatch.returns)
        return values, to_weights(self.shared.vf_coef * by_value.unsqueeze(-1))

    def _metrics(
        self, batch: Batch, found: Sequence[tuple[Tensor, ...]], clip_coef: float, learning_rate: float
    ) -> UpdateMetrics:
        """Return what all minibatches came to, only at the end, so that a GPU is not waited for in each of them."""
        log_ratios, entropies, values, norms, advantages, returns, old_values = (
            torch.stack(one).flatten() for one in zip(*found, strict=True)
        )
        if self.own.clip_vloss:
            value_loss = losses.clipped_value_loss(values, returns, old_values, clip_coef)
        else:
            value_loss = losses.value_loss(values, returns)
        policy_loss = losses.policy_loss(log_ratios, advantages, clip_coef)
        loss, entropy, value, norm = torch.stack([policy_loss, entropies.mean(), value_loss, norms.mean()]).tolist()
        return UpdateMetrics(
            policy_loss=loss,
            value_loss=value,
            entropy=entropy,
            approx_kl=losses.approx_kl(log_ratios),
            clip_fraction=losses.clip_fraction(log_ratios, clip_coef),
            explained_variance=losses.explained_variance(batch.values, batch.returns),
            value_target_std=float(batch.returns.std()),
            gradient_norm=norm,
            learning_rate=learning_rate,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer's state, itself and no copy."""
        return self.optimizer.state_dict()
