"""From environments and an agent to the batch that an update learns from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppocli.algorithm.advantages import compute_gae
from ppocli.algorithm.agent import Agent
from ppocli.envs.episodes import Episode, Episodes


@dataclass(frozen=True)
class Rollout:
    """T steps in each of N environments; every row is a real transition."""

    obs: NDArray[np.float32]
    """(T, N, obs_size)"""
    actions: NDArray[Any]
    """(T, N, ...), as the agent's distribution drew them"""
    rewards: NDArray[np.float32]
    """(T, N), raw"""
    next_obs: NDArray[np.float32]
    """(T, N, obs_size): what the action led to, before any reset"""
    terminated: NDArray[np.bool_]
    """(T, N)"""
    truncated: NDArray[np.bool_]
    """(T, N)"""
    episodes: list[Episode]
    """The episodes that ended in this rollout, in the order in which they did."""


@dataclass(frozen=True)
class Batch:
    """The B = T × N samples of a rollout, as the update takes them; all are (B,) but `obs` and `actions`, (B, ...)."""

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


@torch.inference_mode()
def collect(episodes: Episodes, agent: Agent, horizon: int, noise: NDArray[np.float32]) -> Rollout:
    """Take `horizon` steps in each environment with actions drawn from the policy; episodes go on where they stood.

    `noise`: (T, N, ...), see `Distribution.draw_noise`. Values and log-probabilities are not needed to act;
    `make_batch` computes them for all steps at once.
    """
    num_envs, obs_size = episodes.obs.shape
    obs = np.empty((horizon, num_envs, obs_size), dtype=np.float32)
    next_obs = np.empty_like(obs)
    spec = episodes.envs.action_spec
    actions = np.empty((horizon, num_envs, *spec.shape), dtype=spec.dtype)
    rewards = np.empty((horizon, num_envs), dtype=np.float32)
    terminated = np.empty((horizon, num_envs), dtype=bool)
    truncated = np.empty((horizon, num_envs), dtype=bool)
    finished: list[Episode] = []
    device = agent.device
    noises = torch.from_numpy(noise).to(device)
    for t in range(horizon):
        obs[t] = episodes.obs
        actions[t] = agent.sample(torch.from_numpy(obs[t]).to(device), noises[t]).cpu().numpy()
        next_obs[t], rewards[t], terminated[t], truncated[t] = episodes.step(actions[t])
        finished += episodes.finished
        episodes.start_next()
    return Rollout(obs, actions, rewards, next_obs, terminated, truncated, finished)


@torch.inference_mode()
def make_batch(rollout: Rollout, agent: Agent, gamma: float, gae_lambda: float, reward_scale: float) -> Batch:
    """Evaluate a rollout with the agent that collected it: log-probs, values, advantages and value targets.

    Rewards are multiplied by `reward_scale` here and nowhere else, so that whatever is reported stays raw.
    """
    device = agent.device
    obs = torch.from_numpy(rollout.obs).to(device)
    actions = torch.from_numpy(rollout.actions).to(device)
    log_probs, _ = agent.log_prob_and_entropy(obs, actions)
    values = agent.value(obs)
    next_values = agent.value(torch.from_numpy(rollout.next_obs).to(device))
    advantages, returns = compute_gae(
        rollout.rewards * np.float32(reward_scale),
        values.cpu().numpy(),
        next_values.cpu().numpy(),
        rollout.terminated,
        rollout.truncated,
        gamma,
        gae_lambda,
    )
    return Batch(
        obs=obs.flatten(0, 1),
        actions=actions.flatten(0, 1),
        log_probs=log_probs.flatten(),
        values=values.flatten(),
        advantages=torch.from_numpy(advantages).to(device).flatten(),
        returns=torch.from_numpy(returns).to(device).flatten(),
    )
