"""From environments and an agent to the batch that an update learns from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppocli.algorithm.advantages import compute_gae
from ppocli.algorithm.agent import Agent, States, as_states, forgotten
from ppocli.algorithm.losses import normalize
from ppocli.algorithm.memory import Sequences
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
    states: States = None  # (N, size): what was remembered before the first row
    last_states: States = None  # (E, size): what was remembered before each of `last_obs`
    next_states: States = None  # (N, size): what is remembered after the last row; nothing where an episode ended

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

    All are (B,) but `obs`, `actions` and `outputs`, (B, ...), and `states`, (N, size).
    """

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    begins: Tensor | None = None  # where there is a memory: whether an episode begins with a row,
    states: Tensor | None = None  # and what was remembered before the first rows
    outputs: Tensor | None = None  # what the actor gave then, by which it is seen how far it moves; in no minibatch

    @property
    def seen(self) -> Tensor | Sequences:
        """The observations as networks take them."""
        return _as_taken(self.obs, self.begins, self.states)


def collect(episodes: Episodes, agent: Agent, noise: NDArray[np.float32], states: States = None) -> Rollout:
    """Take T steps in each environment with actions drawn from the policy; episodes continue where they stood.

    `noise`: (T, N, ...), see `Agent.draw_noise`; `states` is what the agent remembers of those episodes. `make_batch`
    computes values and log-probabilities, all at once.
    """
    horizon, num_envs = steps = noise.shape[:2]
    obs_spec, action_spec = episodes.envs.obs_spec, episodes.envs.action_spec
    shown = np.empty((horizon + 1, num_envs, *obs_spec.shape), obs_spec.dtype)
    last_obs: list[NDArray[Any]] = []
    last_states: list[NDArray[np.float32]] = []
    actions = np.empty((horizon, num_envs, *action_spec.shape), action_spec.dtype)
    rewards = np.empty(steps, dtype=np.float32)
    terminated, truncated = np.empty(steps, dtype=bool), np.empty(steps, dtype=bool)
    finished: list[Episode] = []
    noises, device = agent.tensor(noise).unbind(), agent.device

    @torch.inference_mode()  # and not for the environments: one of them may learn, too
    def act(obs: NDArray[Any], noise: Tensor, states: States) -> tuple[NDArray[Any], States]:
        drawn, after = agent.sample(torch.from_numpy(obs).to(device), noise, agent.optional(states))
        return drawn.cpu().numpy(), as_states(after)

    shown[0], first_states = episodes.obs, states
    for t in range(horizon):
        actions[t], states = act(shown[t], noises[t], states)
        obs, rewards[t], terminated[t], truncated[t], *_ = episodes.step(actions[t])
        ended = terminated[t] | truncated[t]
        last_obs += [*obs[ended]]
        last_states += [] if states is None else [*states[ended]]
        states = forgotten(states, ended)
        finished += episodes.finished
        episodes.start_next()
        shown[t + 1] = episodes.obs
    ends = np.array(last_obs, obs_spec.dtype).reshape(-1, *obs_spec.shape)
    rollout = Rollout(shown, actions, rewards, ends, terminated, truncated, finished)
    if states is None:
        return rollout
    at_ends = np.array(last_states, np.float32).reshape(-1, agent.memory_size)
    return replace(rollout, states=first_states, last_states=at_ends, next_states=states)


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
    begins, states = _remembered(rollout, agent)
    features = agent.trunk(_as_taken(agent.seen(obs), begins, states)).view(*rollout.rewards.shape, -1)
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
    obs, actions, log_probs, values, outputs = (
        part.flatten(0, 1) for part in (obs, actions, log_probs, values, outputs)
    )
    learned = agent.tensor(advantages).flatten(), agent.tensor(returns).flatten()
    batch = Batch(obs, actions, log_probs, values, *learned, begins, states, outputs)
    if baseline:
        return batch
    ended_later = np.logical_or.accumulate(rollout.ended[::-1])[::-1]
    known = agent.tensor(ended_later.flatten())
    return replace(batch, **{name: part[known] for name, part in vars(batch).items() if part is not None})


def _as_taken(obs: Tensor, begins: Tensor | None, states: Tensor | None) -> Tensor | Sequences:
    """Return observations (B, ...), or (T, N, ...), as networks take them."""
    return obs if begins is None or states is None else Sequences(obs.reshape(len(begins), -1), begins, states)


def _remembered(rollout: Rollout, agent: Agent) -> tuple[Tensor | None, Tensor | None]:
    """Return with which rows (B,) an episode begins, and what was remembered before the first; None without a memory.

    Where one begins with the first row, nothing was.
    """
    if rollout.states is None:
        return None, None
    begins = np.zeros_like(rollout.ended)
    begins[1:] = rollout.ended[:-1]
    return agent.tensor(begins.flatten()), agent.tensor(rollout.states)


def _next_values(rollout: Rollout, agent: Agent, values: Tensor) -> Tensor:
    """Return the values of what the actions led to, (T, N); `values` are those of what they answered to.

    Of vectors all are computed, which takes next to no time. Of pictures, and with a memory, those that nothing has
    looked at yet: what episodes ended with, and what comes after the last row.
    """
    if isinstance(agent.obs_spec, Vector) and rollout.states is None:
        return agent.value(agent.tensor(rollout.next_obs))
    after_all = agent.value(agent.tensor(rollout.shown[-1]), agent.optional(rollout.next_states))
    following = torch.cat([values[1:], after_all.unsqueeze(0)])
    if len(rollout.last_obs):
        at_ends = agent.value(agent.tensor(rollout.last_obs), agent.optional(rollout.last_states))
        following[agent.tensor(rollout.ended)] = at_ends
    return following


def minibatches(batch: Batch, size: int, rng: np.random.Generator, *, norm_adv: bool) -> Iterator[Batch]:
    """Yield a batch in parts of `size` samples each, in an order drawn from `rng`, with `norm_adv` advantages alike.

    Where there is a memory each part is of whole sequences, in such an order.
    """
    num_samples, states = len(batch.advantages), batch.states
    num_drawn = num_samples if states is None else len(states)
    order = drawn = torch.from_numpy(rng.permutation(num_drawn)).to(batch.advantages.device)
    sequences = torch.split(drawn, size * num_drawn // num_samples)
    if states is not None:
        rows = torch.arange(num_samples, device=drawn.device).view(-1, num_drawn)
        order = torch.cat([rows[:, together].flatten() for together in sequences])
    by_row = {name: tensor for name, tensor in vars(batch).items() if name not in ("states", "outputs")}
    shuffled = {name: tensor[order] for name, tensor in by_row.items() if tensor is not None}
    if norm_adv:
        shuffled["advantages"] = normalize(shuffled["advantages"].view(-1, size)).flatten()
    parts = zip(*(torch.split(tensor, size) for tensor in shuffled.values()), strict=True)
    for part, together in zip(parts, sequences, strict=True):
        minibatch = Batch(**dict(zip(shuffled, part, strict=True)))
        yield minibatch if states is None else replace(minibatch, states=states[together])
