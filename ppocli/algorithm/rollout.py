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
from ppocli.envs.episodes import Episode, Episodes


@dataclass(frozen=True)
class Rollout:
    """T steps in each of N environments; every row is a real transition."""

    obs: NDArray[Any]  # (T, N, *obs_spec.shape)
    actions: NDArray[Any]  # (T, N, ...), as the agent's distribution drew them
    rewards: NDArray[np.float32]  # (T, N), raw
    next_obs: NDArray[Any]  # (T, N, *obs_spec.shape): what the action led to, before any reset
    terminated: NDArray[np.bool_]  # (T, N)
    truncated: NDArray[np.bool_]  # (T, N)
    episodes: list[Episode]  # that ended in this rollout, in the order in which they did


@dataclass(frozen=True)
class Batch:
    """The B = T × N samples of a rollout, as the update takes them; all are (B,) but `obs` and `actions`, (B, ...)."""

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def collect(episodes: Episodes, agent: Agent, noise: NDArray[np.float32]) -> Rollout:
    """Take T steps in each environment with actions drawn from the policy; episodes continue where they stood.

    `noise`: (T, N, ...), see `Agent.draw_noise`. `make_batch` computes values and log-probabilities, all at once.
    """
    horizon, num_envs = steps = noise.shape[:2]
    obs_spec, action_spec = episodes.envs.obs_spec, episodes.envs.action_spec
    obs = np.empty((horizon, num_envs, *obs_spec.shape), obs_spec.dtype)
    next_obs = np.empty_like(obs)
    actions = np.empty((horizon, num_envs, *action_spec.shape), action_spec.dtype)
    rewards = np.empty(steps, dtype=np.float32)
    terminated, truncated = np.empty(steps, dtype=bool), np.empty(steps, dtype=bool)
    finished: list[Episode] = []
    noises, device = agent.tensor(noise).unbind(), agent.device

    @torch.inference_mode()  # and not for the environments: one of them may learn, too
    def act(obs: NDArray[Any], noise: Tensor) -> NDArray[Any]:
        return agent.sample(torch.from_numpy(obs).to(device), noise).cpu().numpy()

    for t in range(horizon):
        obs[t] = episodes.obs
        actions[t] = act(obs[t], noises[t])
        next_obs[t], rewards[t], terminated[t], truncated[t], *_ = episodes.step(actions[t])
        finished += episodes.finished
        episodes.start_next()
    return Rollout(obs, actions, rewards, next_obs, terminated, truncated, finished)


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
    log_probs, _ = agent.log_prob_and_entropy(obs, actions)
    if baseline:
        values, next_values = agent.value(obs), agent.value(agent.tensor(rollout.next_obs))
    else:
        values = next_values = torch.zeros_like(log_probs)
    rewards, ends = rollout.rewards * np.float32(reward_scale), (rollout.terminated, rollout.truncated)
    advantages, returns = compute_gae(
        rewards, values.cpu().numpy(), next_values.cpu().numpy(), *ends, gamma, gae_lambda
    )
    parts = (obs, actions, log_probs, values, agent.tensor(advantages), agent.tensor(returns))
    batch = Batch(*(part.flatten(0, 1) for part in parts))
    if baseline:
        return batch
    ended_later = np.logical_or.accumulate((rollout.terminated | rollout.truncated)[::-1])[::-1]
    known = agent.tensor(ended_later.flatten())
    return Batch(*(part[known] for part in vars(batch).values()))


def minibatches(batch: Batch, size: int, rng: np.random.Generator, *, norm_adv: bool) -> Iterator[Batch]:
    """Yield a batch in parts of `size` samples each, in an order drawn from `rng`, with `norm_adv` advantages alike."""
    order = torch.from_numpy(rng.permutation(len(batch.advantages))).to(batch.advantages.device)
    shuffled = Batch(**{name: tensor[order] for name, tensor in vars(batch).items()})
    if norm_adv:
        shuffled = replace(shuffled, advantages=normalize(shuffled.advantages.view(-1, size)).flatten())
    for parts in zip(*(torch.split(tensor, size) for tensor in vars(shuffled).values()), strict=True):
        yield Batch(*parts)
