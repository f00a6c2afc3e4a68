"""What a policy computes from an observation to an action, step by step, as numbers that any program could hold."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from torch import nn

from ppocli.algorithm.distributions import Gaussian
from ppocli.algorithm.memory import Memory
from ppocli.algorithm.vision import Vision
from ppocli.envs import spaces
from ppocli.envs.api import ActionSpec, ObsSpec
from ppocli.evaluation.policy import TrainedPolicy

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """A part of an observation that has none itself."""

    name: str
    space: gym.Space[Any]
    picture: spaces.Picture | None


@dataclass(frozen=True)
class Plan:
    """Observation → parts → normalised numbers, and pictures through convolutions → memory → layers → action."""

    parts: list[Part]
    obs_spec: ObsSpec
    action_space: gym.Space[Any]
    action_spec: ActionSpec
    normalizer: tuple[Array, Array] | None  # mean and standard deviation (size,): what is beyond 10 of them is clipped
    vision: Vision | None
    memory: list[Array] | None  # PyTorch's weights and biases of a GRU: gates r, z, n
    layers: list[tuple[Array, Array]]  # weights (outputs, inputs) and biases
    activation: str  # between them
    log_std: Array | None  # of real-valued actions

    @property
    def memory_size(self) -> int:
        """How many numbers are remembered."""
        return 0 if self.memory is None else self.memory[1].shape[1]

    @property
    def num_outputs(self) -> int:
        """How many numbers the last layer gives."""
        return len(self.layers[-1][1])


def plan_of(policy: TrainedPolicy) -> Plan:
    """Return what a policy computes."""
    agent, config = policy.agent, policy.checkpoint.config
    parts = [
        Part(leaf.name or "obs", leaf.space, spaces.picture_in(leaf.space) if config.env.pictures else None)
        for leaf in spaces.leaves(policy.observation_space)
    ]
    sees = [*agent.trunk.modules(), *agent.actor.modules()]
    vision = next((module for module in sees if isinstance(module, Vision)), None)
    memory = next((module for module in sees if isinstance(module, Memory)), None)
    behind = [module for module in agent.actor if not isinstance(module, Vision)]
    linear = [layer for module in behind for layer in module.modules() if isinstance(layer, nn.Linear)]
    return Plan(
        parts=parts,
        obs_spec=agent.obs_spec,
        action_space=policy.action_space,
        action_spec=policy.action_spec,
        normalizer=None if agent.normalizer is None else (_array(agent.normalizer.mean), _array(agent.normalizer.std)),
        vision=vision,
        memory=None if memory is None else [_array(weights) for weights in memory[1].parameters()],
        layers=[(_array(layer.weight), _array(layer.bias)) for layer in linear],
        activation=config.network.activation,
        log_std=_array(agent.distribution.log_std) if isinstance(agent.distribution, Gaussian) else None,
    )


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)
