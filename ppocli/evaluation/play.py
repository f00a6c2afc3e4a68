"""Who plays, and how: one protocol for every policy, so many episodes, each with its own seed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppocli.algorithm.agent import Agent, States, as_states, forgotten
from ppocli.envs.api import ActionSpec, ObsSpec, VectorEnv
from ppocli.envs.episodes import Episode, Episodes
from ppocli.envs.masks import chance
from ppocli.seeds import Stream, generator

Policy = Callable[[NDArray[Any], States, Sequence[np.random.Generator]], tuple[NDArray[Any], States]]
"""From observations (S, *obs_spec.shape), what is remembered, and a generator for each row's episode, to actions.

These are (S, ...), and with them comes what is remembered then.
"""
Tell = Callable[[int], object]
"""Whom to tell how many episodes have been played."""


def tell_nobody(played: int) -> None:
    """Keep it to oneself."""


def greedy(agent: Agent) -> Policy:
    """Return the policy that takes the most probable action."""
    device = agent.device  # found once: it takes as long as a layer

    @torch.inference_mode()
    def policy(
        obs: NDArray[Any], states: States, generators: Sequence[np.random.Generator]
    ) -> tuple[NDArray[Any], States]:
        actions, after = agent.mode(torch.from_numpy(obs).to(device), agent.optional(states))
        return actions.cpu().numpy(), as_states(after)

    return policy


def stochastic(agent: Agent) -> Policy:
    """Return the policy that draws actions as in training, each episode from its own stream."""

    @torch.inference_mode()
    def policy(
        obs: NDArray[Any], states: States, generators: Sequence[np.random.Generator]
    ) -> tuple[NDArray[Any], States]:
        noise = np.stack([agent.draw_noise(rng) for rng in generators])
        actions, after = agent.sample(agent.tensor(obs), agent.tensor(noise), agent.optional(states))
        return actions.cpu().numpy(), as_states(after)

    return policy


def random(spec: ActionSpec, obs_spec: ObsSpec) -> Policy:
    """Return the policy that draws every action alike, each episode from its own stream.

    Where observations end in a mask, it draws from what that allows. Real numbers are uniform over their bounds,
    standard normal where there are none.
    """

    def policy(
        obs: NDArray[Any], states: States, generators: Sequence[np.random.Generator]
    ) -> tuple[NDArray[Any], States]:
        return chance(spec, obs_spec, obs, generators), None

    return policy


def play(envs: VectorEnv, policy: Policy, seeds: Sequence[int]) -> Iterator[list[Episode]]:
    """Play one episode for each seed; yield at the start and after every step what it finished, before any reset.

    Whichever environment has ended its episode begins the next; each is played, however short or long it is.
    """
    to_come = iter(seeds)
    episodes = Episodes(envs, lambda environment, number: next(to_come, None))
    # One for each row of the batch; what an environment without an episode draws goes nowhere.
    generators = [generator(seed or 0, Stream.POLICY) for seed in episodes.seeds]
    states: States = None
    yield []
    while episodes.any_playing:
        actions, states = policy(episodes.obs, states, generators)
        step = episodes.step(actions)
        states = forgotten(states, step.terminated | step.truncated)
        yield episodes.finished
        episodes.start_next()
        for ended in episodes.finished:
            if (seed := episodes.seeds[ended.environment]) is not None:
                generators[ended.environment] = generator(seed, Stream.POLICY)


def evaluate(envs: VectorEnv, policy: Policy, seeds: Sequence[int], tell: Tell = tell_nobody) -> list[Episode]:
    """Play one episode for each seed and return them in the order of the seeds; `tell` how many have been played."""
    episodes: list[Episode] = []
    for finished in play(envs, policy, seeds):
        if finished:
            episodes += finished
            tell(len(episodes))
    position = {seed: index for index, seed in enumerate(seeds)}
    return sorted(episodes, key=lambda episode: position[episode.seed])
