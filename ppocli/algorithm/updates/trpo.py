"""Trust region policy optimisation, arXiv:1502.05477."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ppocli.algorithm.adam import Adam
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.distributions import Snapshot
from ppocli.algorithm.rollout import Batch
from ppocli.algorithm.updates.api import UpdateMetrics
from ppocli.algorithm.updates.natural import natural_step
from ppocli.algorithm.updates.shared import (
    as_learned_from,
    check_finite,
    fit_critic,
    moved,
    policy_at,
    policy_gradient,
    surrogate,
)
from ppocli.algorithm.weights import Weights
from ppocli.config.sections import TRPOConfig, UpdateConfig
from ppocli.config.values import value_at


class TRPO:
    """The natural gradient's step of `agent`, shortened until it is what it promised; see `Update`."""

    def __init__(self, agent: Agent, shared: UpdateConfig, own: TRPOConfig) -> None:
        self.agent = agent
        self.shared = shared
        self.own = own
        self.policy = Weights(agent.policy)
        self.critic = Adam(Weights(agent.critic))

    @torch.no_grad()
    def update(self, batch: Batch, done: float, rng: np.random.Generator) -> UpdateMetrics:
        """Learn from a batch: a step along F⁻¹ g that is tried out, then the critic's regression.

        What the natural gradient is sure of holds near the old policy alone. So its step is multiplied by
        `backtrack_ratio`, again and again, until KL is no more than `target_kl`, where it was to be just that, and the
        surrogate E[ρ A] + ent_coef · E[H] has grown. Where no step does, the policy stays. Appendix C of the paper.
        """
        shared, policy = self.shared, self.policy
        learning_rate, ent_coef = value_at(shared.learning_rate, done), value_at(shared.ent_coef, done)
        policy.assert_holds_parameters()
        self.critic.weights.assert_holds_parameters()
        batch = as_learned_from(self.agent, batch, norm_adv=shared.norm_adv)
        before = policy_at(self.agent, batch.obs)

        _, entropies = policy_gradient(self.agent, policy, batch, ent_coef)
        norm = torch.linalg.vector_norm(policy.gradient)
        step = natural_step(self.agent, policy, batch.obs, self.own)
        tries, share = self._search(batch, before, step, ent_coef)

        metrics = replace(
            fit_critic(self.agent, self.critic, batch, shared, learning_rate, rng),
            policy_loss=float(surrogate(self.agent, batch)[0]),
            entropy=float(entropies.mean()),
            kl=float(moved(self.agent, batch.obs, before)),
            gradient_norm=float(norm),
            step_length=share * float(torch.linalg.vector_norm(step)),
            line_search_steps=tries,
        )
        check_finite(metrics, *self.state_dict().values(), policy.values, self.critic.weights.values)
        return metrics

    def _search(self, batch: Batch, before: Snapshot, step: Tensor, ent_coef: float) -> tuple[int, float]:
        """Move the policy by as much of a step as it may; return how many tries that took, and the share of it."""
        policy, own = self.policy, self.own

        def objective() -> Tensor:
            loss, entropy = surrogate(self.agent, batch)
            return ent_coef * entropy - loss

        old, old_objective, share = policy.values.clone(), objective(), 1.0
        for tried in range(1, own.backtrack_steps + 1):
            policy.values.copy_(old + share * step)
            if moved(self.agent, batch.obs, before) <= own.target_kl and objective() > old_objective:
                return tried, share
            share *= own.backtrack_ratio
        policy.values.copy_(old)
        return own.backtrack_steps, 0.0

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the critic's optimizer, itself and no copy."""
        return self.critic.state_dict()
