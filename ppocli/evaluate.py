"""One protocol for every policy, greedy, stochastic or random: so many episodes, each with its own seed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppocli.algorithm.agent import Agent
from ppocli.config import Config
from ppocli.envs.api import ActionSpec, Continuous, VectorEnv
from ppocli.envs.episodes import Episode, Episodes
from ppocli.envs.gymnasium import reward_threshold
from ppocli.estimates import interval, iqm
from ppocli.seeds import Stream, generator

Policy = Callable[[NDArray[np.float32], Sequence[np.random.Generator]], NDArray[Any]]
"""From observations (S, obs_size), and a generator for each row's episode, to actions (S, ...)."""


def greedy(agent: Agent) -> Policy:
    """Return the policy that takes the likeliest action."""

    @torch.inference_mode()
    def policy(obs: NDArray[np.float32], generators: Sequence[np.random.Generator]) -> NDArray[Any]:
        return _numpy(agent.mode(torch.from_numpy(obs).to(agent.device)))

    return policy


def stochastic(agent: Agent) -> Policy:
    """Return the policy that draws actions as in training, each episode from its own stream."""

    @torch.inference_mode()
    def policy(obs: NDArray[np.float32], generators: Sequence[np.random.Generator]) -> NDArray[Any]:
        noise = np.stack([agent.distribution.draw_noise(rng) for rng in generators])
        return _numpy(agent.sample(torch.from_numpy(obs).to(agent.device), torch.from_numpy(noise).to(agent.device)))

    return policy


def random(spec: ActionSpec) -> Policy:
    """Return the policy that draws every action alike, each episode from its own stream.

    Real numbers are uniform over their bounds, standard normal where there are none.
    """

    def draw(rng: np.random.Generator) -> Any:
        if isinstance(spec, Continuous):
            return np.where(spec.bounded, rng.uniform(-1, 1, spec.shape), rng.standard_normal(spec.shape))
        return rng.integers(spec.num_choices)

    def policy(obs: NDArray[np.float32], generators: Sequence[np.random.Generator]) -> NDArray[Any]:
        return np.array([draw(rng) for rng in generators], dtype=spec.dtype)

    return policy


def _numpy(actions: torch.Tensor) -> NDArray[Any]:
    return actions.cpu().numpy()


def play(envs: VectorEnv, policy: Policy, seeds: Sequence[int]) -> Iterator[list[Episode]]:
    """Play one episode for each seed; yield after every step the episodes that it finished, before any reset.

    Episodes are dealt out to the environments in turn, so that each is played once, however short or long it is.
    """
    num_envs = envs.num_envs

    def seed_of(environment: int, number: int) -> int | None:
        index = number * num_envs + environment
        return seeds[index] if index < len(seeds) else None

    episodes = Episodes(envs, seed_of)
    # One for each row of the batch; what an environment without an episode draws goes nowhere.
    generators = [generator(seed or 0, Stream.POLICY) for seed in episodes.seeds]
    while episodes.any_playing:
        episodes.step(policy(episodes.obs, generators))
        yield episodes.finished
        episodes.start_next()
        for ended in episodes.finished:
            seed = episodes.seeds[ended.environment]
            if seed is not None:
                generators[ended.environment] = generator(seed, Stream.POLICY)


def evaluate(envs: VectorEnv, policy: Policy, seeds: Sequence[int]) -> list[Episode]:
    """Play one episode for each seed and return them in the order of the seeds."""
    episodes = [episode for finished in play(envs, policy, seeds) for episode in finished]
    position = {seed: index for index, seed in enumerate(seeds)}
    return sorted(episodes, key=lambda episode: position[episode.seed])


def target_return(config: Config) -> float | None:
    """Return the mean return that counts as solved: `train.target_return`, or else the environment's own threshold."""
    return reward_threshold(config.env) if config.train.target_return is None else config.train.target_return


@dataclass(frozen=True)
class Summary:
    """The statistics of an evaluation, over all its episodes; returns are raw sums of rewards."""

    return_mean: float
    return_std: float
    """Of these episodes (ddof 0), not of the mean."""
    return_median: float
    return_iqm: float
    """Mean of the middle half of the returns, arXiv:2108.13264."""
    return_iqm_ci95: tuple[float, float] | None
    """Percentile bootstrap, 10,000 resamples with a fixed seed; None for a single episode."""
    return_min: float
    return_max: float
    length_mean: float
    solved_fraction: float | None
    """Share of episodes whose return reaches the target; None where the task has no target."""
    terminated_fraction: float
    truncated_fraction: float


def summarize(episodes: Sequence[Episode], target: float | None) -> Summary:
    """Return the statistics of at least one episode."""
    returns = np.array([episode.episode_return for episode in episodes])
    bounds = interval(returns, iqm)
    return Summary(
        return_mean=float(returns.mean()),
        return_std=float(returns.std()),
        return_median=float(np.median(returns)),
        return_iqm=float(iqm(returns)),
        return_iqm_ci95=None if bounds is None else (float(bounds[0]), float(bounds[1])),
        return_min=float(returns.min()),
        return_max=float(returns.max()),
        length_mean=float(np.mean([episode.episode_length for episode in episodes])),
        solved_fraction=None if target is None else float((returns >= target).mean()),
        terminated_fraction=float(np.mean([episode.terminated for episode in episodes])),
        truncated_fraction=float(np.mean([episode.truncated for episode in episodes])),
    )


def statistics(config: Config, episodes: Sequence[Episode], seed: int, *, deterministic: bool) -> dict[str, Any]:
    """Return an evaluation's result as it is printed and written: what was played, and its Summary."""
    target = target_return(config)
    return {
        "env_id": config.env.id,
        "episodes": len(episodes),
        "seed": seed,
        "deterministic": deterministic,
        "target_return": target,
        **asdict(summarize(episodes, target)),
    }


def episode_lists(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Return each episode's seed, return and length, for the evaluation's file."""
    return {
        "episode_seeds": [episode.seed for episode in episodes],
        "episode_returns": [episode.episode_return for episode in episodes],
        "episode_lengths": [episode.episode_length for episode in episodes],
    }
