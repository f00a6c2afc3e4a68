"""The agent: an actor, a critic, the distribution over actions, and the statistics that it sees the world through."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ppocli.algorithm.distributions import distribution_of
from ppocli.algorithm.memory import Sequences, make_memory
from ppocli.algorithm.networks import Network, Same, make_actor, make_critic
from ppocli.algorithm.normalize import ObsNormalizer
from ppocli.algorithm.vision import make_vision
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import ActionSpec, ObsSpec, Pictures, Vector

States = NDArray[np.float32] | None
"""What an agent remembers of the episode in each of N environments, (N, size); None is nothing."""


def as_states(after: Tensor | None) -> States:
    """Return what an agent gives back of its memory as it is kept from one step to the next."""
    return None if after is None else after.cpu().numpy()


def forgotten(states: States, ended: NDArray[np.bool_]) -> States:
    """Return what is remembered once the episodes of some environments, `ended` (N,), are over."""
    return None if states is None else np.where(ended[:, None], np.float32(0), states)


class Agent(nn.Module):
    """Actor and critic, two networks that share no weights; before them a trunk that both share.

    It is what sees pictures, and what remembers; where neither is needed, nothing.
    By `init: orthogonal` the actor's last layer is so small that the policy starts near uniform, or near 0.
    `generator` is the only source of randomness. With `normalize_obs` the agent sees observations through running
    statistics of its own, saved with its weights; all methods take observations as they come from the environment.
    What is remembered goes in and comes out of them: the agent itself keeps nothing.
    """

    def __init__(
        self,
        obs_spec: ObsSpec,
        action_spec: ActionSpec,
        config: NetworkConfig,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.obs_spec = obs_spec
        self.distribution = distribution_of(action_spec, config.log_std_init)
        self.normalizer = ObsNormalizer(obs_spec) if config.normalize_obs and obs_spec.size else None
        self.memory_size = 0 if config.memory is None else config.memory.size
        num_outputs = self.distribution.num_outputs
        self.trunk: Network = Same()
        if isinstance(obs_spec, Pictures):
            config = config.model_copy(update={"hidden_sizes": (), "critic_hidden_sizes": ()})
        if isinstance(obs_spec, Pictures) and not config.shared_cnn:
            actor_sees, features = make_vision(obs_spec, config, generator)
            critic_sees, _ = make_vision(obs_spec, config, generator)
            self.actor = Network(actor_sees, make_actor(features, num_outputs, config, generator, is_head=True))
            self.critic = Network(critic_sees, make_critic(features, config, generator, is_head=True))
        else:
            self.trunk, features = _make_trunk(obs_spec, config, generator)
            is_head = not isinstance(self.trunk, Same)
            self.actor = make_actor(features, num_outputs, config, generator, is_head=is_head)
            self.critic = make_critic(features, config, generator, is_head=is_head)

    @property
    def policy(self) -> nn.Module:
        """All that learns to act: the actor, then the distribution's own weights, where it has any."""
        own = [self.distribution] if isinstance(self.distribution, nn.Module) else []
        return nn.ModuleList([self.actor, *own])

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """Return observations, actions or noise as all methods take them: a tensor where the weights lie."""
        return torch.from_numpy(values).to(self.device)

    def optional(self, states: States) -> Tensor | None:
        """Return what is remembered as all methods take it."""
        return None if states is None else self.tensor(states)

    def no_states(self, num_envs: int) -> States:
        """Return what is remembered of so many episodes when they begin; None without a memory."""
        return np.zeros((num_envs, self.memory_size), np.float32) if self.memory_size else None

    def draw_noise(self, rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
        """Draw what `sample` needs for `shape` actions."""
        return self.distribution.draw_noise(rng, *shape)

    def sample(self, obs: Tensor, noise: Tensor, states: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Actions (B, ...) drawn from the policy at obs (B, *obs_spec.shape), and what is remembered after it."""
        features, after = self.features(obs, states)
        return self.distribution.sample(self.actor(features), noise), after

    def mode(self, obs: Tensor, states: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The greedy actions (B, ...) at obs (B, *obs_spec.shape), and what is remembered after it."""
        features, after = self.features(obs, states)
        return self.distribution.mode(self.actor(features)), after

    def log_prob_and_entropy(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of actions (B, ...) at obs (B, ...), and the policy's entropy there; both (B,)."""
        return self.distribution.with_backward(self.actor(self.features(obs, None)[0]), actions)[:2]

    def value(self, obs: Tensor, states: Tensor | None = None) -> Tensor:
        """The critic's estimate (B,) of the return from obs (B, *obs_spec.shape)."""
        values: Tensor = self.critic(self.features(obs, states)[0]).squeeze(-1)
        return values

    def features(self, obs: Tensor, states: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What actor and critic take at one observation each of B sequences, and what is remembered after it."""
        if not self.memory_size:
            return self.trunk(self.seen(obs)), None
        if states is None:
            states = torch.zeros(len(obs), self.memory_size, device=obs.device)
        features = self.trunk(
            Sequences(self.seen(obs), torch.zeros(len(obs), dtype=torch.bool, device=obs.device), states)
        )
        return features, features[:, : self.memory_size]

    def learn_obs(self, obs: Tensor) -> None:
        """Let observations (..., *obs_spec.shape) count in the running statistics, where the agent has any."""
        if self.normalizer is not None:
            self.normalizer.learn(obs)

    def seen(self, obs: Tensor) -> Tensor:
        """Observations (B, ...) as the networks take them: the trunk, where there is one, and then actor and critic."""
        return obs if self.normalizer is None else self.normalizer(obs)


def _make_trunk(obs_spec: ObsSpec, config: NetworkConfig, generator: torch.Generator | None) -> tuple[Network, Vector]:
    """Return what actor and critic share, and the form of what it gives."""
    trunk, features = make_vision(obs_spec, config, generator) if isinstance(obs_spec, Pictures) else (Same(), obs_spec)
    return (trunk, features) if config.memory is None else make_memory(trunk, features, config, generator)


def new_agent(
    obs_spec: ObsSpec, action_spec: ActionSpec, config: NetworkConfig, rng: np.random.Generator, device: torch.device
) -> Agent:
    """Return an agent that knows nothing yet, its weights drawn from `rng`, on a device."""
    generator = torch.Generator()
    generator.manual_seed(int(rng.integers(2**63)))
    return on_device(Agent(obs_spec, action_spec, config, generator), device)


def on_device(agent: Agent, device: torch.device) -> Agent:
    """Move an agent, before an update is made for it."""
    # Apple's GPUs know no float64: there the agent's statistics are kept in float32.
    return agent.to(device, torch.float32) if device.type == "mps" else agent.to(device)
