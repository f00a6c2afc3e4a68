"""The vanilla policy gradient: REINFORCE, Williams 1992, with a learned baseline."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ppocli.algorithm import losses
from ppocli.algorithm.adam import Adam
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.rollout import Batch
from ppocli.algorithm.updates.api import UpdateMetrics
from ppocli.algorithm.updates.shared import as_learned_from, check_finite, fit_critic, moved, policy_at, policy_gradient
from ppocli.algorithm.weights import Weights
from ppocli.config.sections import UpdateConfig, VPGConfig
from ppocli.config.values import value_at


class VPG:
    """One step of `agent` along the gradient of what its policy earns; see `Update`."""

    def __init__(self, agent: Agent, shared: UpdateConfig, own: VPGConfig) -> None:
        self.agent = agent
        self.shared = shared
        self.own = own
        self.actor = Adam(Weights(agent.policy))
        self.critic = Adam(Weights(agent.critic))

    @torch.no_grad()
    def update(self, batch: Batch, done: float, rng: np.random.Generator) -> UpdateMetrics:
        """Learn from a batch: one step of Adam on −E[log π(a) A] − ent_coef · E[H], then the critic's regression.

        After that step the policy is another, and the gradient, which is right for the one that took the samples, is
        used no more. Nothing holds the step back: the weights move as far as ever where the policy moves too far by it.
        """
        shared, policy = self.shared, self.actor.weights
        learning_rate, ent_coef = value_at(shared.learning_rate, done), value_at(shared.ent_coef, done)
        policy.assert_holds_parameters()
        self.critic.weights.assert_holds_parameters()
        if len(batch.obs) < 2:  # without a baseline, where no episode has ended
            return UpdateMetrics(learning_rate=learning_rate)
        batch = as_learned_from(self.agent, batch, norm_adv=shared.norm_adv)
        before = policy_at(self.agent, batch.obs)

        log_probs, entropies = policy_gradient(self.agent, policy, batch, ent_coef)
        norm = float(policy.clip_gradient(shared.max_grad_norm))
        self.actor.step(learning_rate)

        metrics = UpdateMetrics(learning_rate=learning_rate)
        if self.own.baseline:
            metrics = fit_critic(self.agent, self.critic, batch, shared, learning_rate, rng)
        metrics = replace(
            metrics,
            policy_loss=float(losses.log_prob_loss(log_probs, batch.advantages)),
            entropy=float(entropies.mean()),
            kl=float(moved(self.agent, batch.obs, before)),
            gradient_norm=norm,
        )
        check_finite(metrics, *self.state_dict().values(), policy.values, self.critic.weights.values)
        return metrics

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of both optimizers, itself and no copy."""
        parts = {"actor": self.actor, "critic": self.critic}
        return {f"{part}.{name}": tensor for part, adam in parts.items() for name, tensor in adam.state_dict().items()}
