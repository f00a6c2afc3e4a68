"""The natural policy gradient, Kakade 2002."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ppocli.algorithm.adam import Adam
from ppocli.algorithm.agent import Agent
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
from ppocli.config.sections import NPGConfig, UpdateConfig
from ppocli.config.values import value_at


class NPG:
    """A step of `agent` as long as its policy may move by it; see `Update`."""

    def __init__(self, agent: Agent, shared: UpdateConfig, own: NPGConfig) -> None:
        self.agent = agent
        self.shared = shared
        self.own = own
        self.policy = Weights(agent.policy)
        self.critic = Adam(Weights(agent.critic))

    @torch.no_grad()
    def update(self, batch: Batch, done: float, rng: np.random.Generator) -> UpdateMetrics:
        """Learn from a batch: a step along F⁻¹ g, by which KL should be `target_kl`, then the critic's regression.

        g is the policy gradient, F the policy's Fisher information. But for the damping, a small step of so much KL is
        the same however the policy's weights are written; a large one may be of any KL, as that is only what its second
        derivative says at the old policy, and whether the policy has become better nobody asks.
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
        policy.values += step

        metrics = replace(
            fit_critic(self.agent, self.critic, batch, shared, learning_rate, rng),
            policy_loss=float(surrogate(self.agent, batch)[0]),
            entropy=float(entropies.mean()),
            kl=float(moved(self.agent, batch.obs, before)),
            gradient_norm=float(norm),
            step_length=float(torch.linalg.vector_norm(step)),
        )
        check_finite(metrics, *self.state_dict().values(), policy.values, self.critic.weights.values)
        return metrics

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the critic's optimizer, itself and no copy."""
        return self.critic.state_dict()
