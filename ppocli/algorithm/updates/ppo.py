"""Proximal policy optimisation with the clipped objective, arXiv:1707.06347."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ppocli.algorithm import losses
from ppocli.algorithm.adam import Adam
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.rollout import Batch, minibatches
from ppocli.algorithm.schedules import value_at
from ppocli.algorithm.updates.api import UpdateMetrics
from ppocli.config.models import PPOConfig, UpdateConfig


class PPO:
    """PPO's update of `agent`; see `Update`."""

    def __init__(self, agent: Agent, shared: UpdateConfig, own: PPOConfig) -> None:
        self.agent = agent
        self.shared = shared
        self.own = own
        self.optimizer = Adam(agent)

    @torch.enable_grad()  # whatever an environment has set
    def update(self, batch: Batch, done: float, rng: np.random.Generator) -> UpdateMetrics:
        """Learn from a batch for `update_epochs` passes, each over a fresh permutation of it drawn from `rng`.

        A pass in which the policy has moved further than `target_kl` (see `approx_kl`) is the last. A minibatch's loss
        is arXiv:1707.06347 eq. 9, to be minimised:

            policy_loss + vf_coef · value_loss − ent_coef · E[entropy]

        Actor and critic share no weights, so that its gradient has two halves that know nothing of each other: they are
        computed side by side, in two threads. The order in which they end changes no bit of the result.
        """
        shared, optimizer = self.shared, self.optimizer
        learning_rate, ent_coef = value_at(shared.learning_rate, done), value_at(shared.ent_coef, done)
        clip_coef, target_kl = value_at(self.own.clip_coef, done), self.own.target_kl
        history: list[Tensor] = []
        log_ratios: list[Tensor] = []
        with ThreadPoolExecutor(max_workers=1, initializer=torch.set_num_threads, initargs=(1,)) as second_thread:
            for _ in range(shared.update_epochs):
                for minibatch in minibatches(batch, shared.minibatch_size, rng, norm_adv=shared.norm_adv):
                    optimizer.zero_gradient()
                    critic = second_thread.submit(self._critic_gradient, minibatch, clip_coef)
                    log_ratio, *actor = self._actor_gradient(minibatch, clip_coef, ent_coef)
                    terms = [*actor, critic.result()]
                    gradient_norm = optimizer.clip_gradient(shared.max_grad_norm)
                    optimizer.step(learning_rate)
                    history.append(torch.stack([*terms, gradient_norm]))
                    log_ratios.append(log_ratio)
                last = log_ratios[-(len(batch.obs) // shared.minibatch_size) :]
                if target_kl is not None and losses.approx_kl(torch.stack(last)) > target_kl:
                    break
        # Only now, so that a GPU is not waited for in every minibatch.
        loss, entropy, value, norm = torch.stack(history).mean(0).tolist()
        optimizer.check_finite({"policy loss": loss, "entropy": entropy, "value loss": value, "gradient": norm})
        moved = torch.stack(log_ratios)
        return UpdateMetrics(
            policy_loss=loss,
            value_loss=value,
            entropy=entropy,
            approx_kl=losses.approx_kl(moved),
            clip_fraction=losses.clip_fraction(moved, clip_coef),
            explained_variance=losses.explained_variance(batch.values, batch.returns),
            gradient_norm=norm,
            learning_rate=learning_rate,
        )

    def _actor_gradient(self, minibatch: Batch, clip_coef: float, ent_coef: float) -> tuple[Tensor, Tensor, Tensor]:
        """Add the actor's gradient; return log ratios (B,), policy loss and mean entropy."""
        log_probs, entropies = self.agent.log_prob_and_entropy(minibatch.obs, minibatch.actions)
        log_ratio = log_probs - minibatch.log_probs
        loss, entropy = losses.policy_loss(log_ratio, minibatch.advantages, clip_coef), entropies.mean()
        (loss - ent_coef * entropy).backward()  # type: ignore[no-untyped-call]
        return log_ratio.detach(), loss.detach(), entropy.detach()

    def _critic_gradient(self, minibatch: Batch, clip_coef: float) -> Tensor:
        """Add the critic's gradient; return the value loss."""
        values = self.agent.value(minibatch.obs)
        if self.own.clip_vloss:
            loss = losses.clipped_value_loss(values, minibatch.returns, minibatch.values, clip_coef)
        else:
            loss = losses.value_loss(values, minibatch.returns)
        (self.shared.vf_coef * loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer's state, itself and no copy."""
        return self.optimizer.state_dict()
