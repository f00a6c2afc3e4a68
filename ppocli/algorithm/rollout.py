"""From environments and an agent to the batch that an update learns from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppocli.algorithm.advantages import compute_gae
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.losses import normalize
from ppocli.envs.api import Vector
from ppocli.envs.episodes import Episode, Episodes


@dataclass(frozen=True)
class Rollout:
    """T steps in each of N environments; every row is a real transition."""

    shown: NDArray[Any]  # (T + 1, N, *obs_spec.shape): what the actions answered to, and what comes next
    actions: NDArray[Any]  # (T, N, ...), as the agent's distribution drew them
    rewards: NDArray[np.float32]  # (T, N), raw
    last_obs: NDArray[Any]  # (E, *obs_spec.shape): what the actions led to that ended episodes, row by row
    terminated: NDArray[np.bool_]  # (T, N)
    truncated: NDArray[np.bool_]  # (T, N)
    episodes: list[Episode]  # that ended in this rollout, in the order in which they did

    @property
    def obs(self) -> NDArray[Any]:
        """What the actions answered to, (T, N, *obs_spec.shape)."""
        return self.shown[:-1]

    @property
    def next_obs(self) -> NDArray[Any]:
        """What the actions led to, before any reset, (T, N, *obs_spec.shape)."""
        following = self.shown[1:].copy()
        following[self.ended] = self.last_obs
        return following

    @property
    def ended(self) -> NDArray[np.bool_]:
        """Whether an episode ended with the action, for whatever reason, (T, N)."""
        return self.terminated | self.truncated


@dataclass(frozen=True)
class Batch:
    """The B = T × N samples of a rollout, as the update takes them.

    All are (B,) but `obs`, `actions` and `outputs`, (B, ...).
    """

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    outputs: Tensor | None = None  # what the actor gave then, by which it is seen how far it moves; in no minibatch


def collect(episodes: Episodes, agent: Agent, noise: NDArray[np.float32]) -> Rollout:
    """Take T steps in each environment with actions drawn from the policy; episodes continue where they stood.

    `noise`: (T, N, ...), see `Agent.draw_noise`. `make_batch` computes values and log-probabilities, all at once.
    """
    horizon, num_envs = steps = noise.shape[:2]
    obs_spec, action_spec = episodes.envs.obs_spec, episodes.envs.action_spec
    shown = np.empty((horizon + 1, num_envs, *obs_spec.shape), obs_spec.dtype)
    last_obs: list[NDArray[Any]] = []
    actions = np.empty((horizon, num_envs, *action_spec.shape), action_spec.dtype)
    rewards = np.empty(steps, dtype=np.float32)
    terminated, truncated = np.empty(steps, dtype=bool), np.empty(steps, dtype=bool)
    finished: list[Episode] = []
    noises, device = agent.tensor(noise).unbind(), agent.device

    @torch.inference_mode()  # and not for the environments: one of them may learn, too
    def act(obs: NDArray[Any], noise: Tensor) -> NDArray[Any]:
        return agent.sample(torch.from_numpy(obs).to(device), noise).cpu().numpy()

    shown[0] = episodes.obs
    for t in range(horizon):
        actions[t] = act(shown[t], noises[t])
        obs, rewards[t], terminated[t], truncated[t], *_ = episodes.step(actions[t])
        last_obs += [*obs[terminated[t] | truncated[t]]]
        finished += episodes.finished
        episodes.start_next()
        shown[t + 1] = episodes.obs
    ends = np.array(last_obs, obs_spec.dtype).reshape(-1, *obs_spec.shape)
    return Rollout(shown, actions, rewards, ends, terminated, truncated, finished)


@torch.no_grad()  # and not inference_mode, whose tensors an update could not learn from
def make_batch(
    rollout: Rollout, agent: Agent, gamma: float, gae_lambda: float, reward_scale: float, *, baseline: bool = True
) -> Batch:
    """Evaluate a rollout with the agent that collected it: log-probs, values, advantages and value targets.

    Rewards are multiplied by `reward_scale` here and nowhere else, so that whatever is reported stays raw. Without a
    `baseline` all values are 0 and advantages, with a `gae_lambda` of 1, are returns to go, REINFORCE's: known only of
    steps whose episode has ended in the same rollout, for whatever reason, and those alone are in the batch.
    """
    obs, actions = agent.tensor(rollout.obs), agent.tensor(rollout.actions)
    features = agent.trunk(agent.seen(obs))
    outputs = agent.actor(features)
    log_probs, *_ = agent.distribution.with_backward(outputs, actions)
    if baseline:
        values = agent.critic(features).squeeze(-1)
        next_values = _next_values(rollout, agent, values)
    else:
        values = next_values = torch.zeros_like(log_probs)
    rewards, ends = rollout.rewards * np.float32(reward_scale), (rollout.terminated, rollout.truncated)
    advantages, returns = compute_gae(
        rewards, values.cpu().numpy(), next_values.cpu().numpy(), *ends, gamma, gae_lambda
    )
    parts = (obs, actions, log_probs, values, agent.tensor(advantages), agent.tensor(returns), outputs)
    batch = Batch(*(part.flatten(0, 1) for part in parts))
    if baseline:
        return batch
    ended_later = np.logical_or.accumulate(rollout.ended[::-1])[::-1]
    known = agent.tensor(ended_later.flatten())
    return Batch(*(part[known] for part in vars(batch).values()))


def _next_values(rollout: Rollout, agent: Agent, values: Tensor) -> Tensor:
    """Return the values of what the actions led to, (T, N); `values` are those of what they answered to.

    Of vectors all are computed, which takes next to no time. Of pictures, those that nothing has looked at yet: what
    episodes ended with, and what comes after the last row.
    """
    if isinstance(agent.obs_spec, Vector):
        return agent.value(agent.tensor(rollout.next_obs))
    following = torch.cat([values[1:], agent.value(agent.tensor(rollout.shown[-1:]))])
    if len(rollout.last_obs):
        following[agent.tensor(rollout.ended)] = agent.value(agent.tensor(rollout.last_obs))
    return following


def minibatches(batch: Batch, size: int, rng: np.random.Generator, *, norm_adv: bool) -> Iterator[Batch]:
    """Yield a batch in parts of `size` samples each, in an order drawn from `rng`, with `norm_adv` advantages alike."""
    order = torch.from_numpy(rng.permutation(len(batch.advantages))).to(batch.advantages.device)
    shuffled = Batch(**{name: tensor[order] for name, tensor in vars(batch).items() if name != "outputs"})
    if norm_adv:
        shuffled = replace(shuffled, advantages=normalize(shuffled.advantages.view(-1, size)).flatten())
    tensors = [tensor for tensor in vars(shuffled).values() if tensor is not None]
    for parts in zip(*(torch.split(tensor, size) for tensor in tensors), strict=True):
        yield Batch(*parts)
