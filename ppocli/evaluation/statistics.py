"""What the episodes of an evaluation amount to. Knows no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ppocli.config.models import Config
from ppocli.envs.api import VectorEnv
from ppocli.envs.episodes import Episode
from ppocli.evaluation.estimates import iqm, iqm_interval
from ppocli.notebook import Tabled


@dataclass(frozen=True)
class Statistics(Tabled):
    """How a policy did over all episodes of an evaluation; returns are raw sums of rewards."""

    env_id: str
    episodes: int
    seed: int  # that chose the episodes
    deterministic: bool
    target_return: float | None  # the mean return that counts as solved, None where the task has none
    return_mean: float
    return_std: float  # of these episodes (ddof 0), not of the mean
    return_median: float
    return_iqm: float  # mean of the middle half of the returns, arXiv:2108.13264
    return_iqm_ci95: tuple[float, float] | None  # percentile bootstrap, fixed seed; t below 30 episodes; None for one
    return_min: float
    return_max: float
    length_mean: float  # env steps
    solved_fraction: float | None  # share of episodes whose return reaches the target; None where there is none
    terminated_fraction: float
    truncated_fraction: float
    info_means: dict[str, float]  # of each of the info keys, over the episodes whose last info has it


@dataclass(frozen=True)
class AgentResult(Statistics):
    """How an agent did, and beside it the random policy on the same episodes."""

    checkpoint: Path
    checkpoint_env_steps: int  # how many env steps the agent had learned from
    random_baseline: Statistics
    greedy_shortfall: float | None = None  # below the training episodes just before, None where that may be chance
    env_kwargs: dict[str, Any] = field(default_factory=dict)  # what the environment was made with


@dataclass(frozen=True)
class BaselineResult(Statistics):
    """How the random policy did."""

    run_dir: Path  # where its episodes lie
    masks_actions: bool  # whether it drew from what its environment allowed alone


@dataclass(frozen=True)
class Verdict:
    """What was found out after an iteration."""

    solved_return: float | None  # greedy policy's mean return in the check that has just found the task solved
    eval_return: float | None  # greedy policy's mean return in a periodic evaluation, None without one
    is_best: bool  # whether this agent is the best so far
    recent_return: float | None  # mean return of the last 100 training episodes, None before the first has ended
    target: float | None  # the mean return that counts as solved, if the task or the config names one
    played: bool = False  # whether episodes were played to find it out


def target_return(config: Config, envs: VectorEnv) -> float | None:
    """Return the mean return that counts as solved: `train.target_return`, or else the environment's own threshold."""
    return envs.reward_threshold if config.train.target_return is None else config.train.target_return


def greedy_shortfall(returns: Sequence[float], trained: Sequence[float], random_mean: float) -> float | None:
    """Return how far the mean of greedy `returns` is below that of training, which samples; None if not clearly.

    The gap has to exceed two standard errors (Welch's) by 5 % of what training had gained over the random policy.
    """
    greedy, sampling = np.ravel(returns), np.ravel(trained)
    if min(len(greedy), len(sampling)) < 10:
        return None
    gap, gained = float(sampling.mean() - greedy.mean()), max(float(sampling.mean()) - random_mean, 0.0)
    error = np.sqrt(greedy.var(ddof=1) / len(greedy) + sampling.var(ddof=1) / len(sampling))
    return gap if gap > 2 * error + 0.05 * gained else None


def statistics(
    env_id: str, episodes: Sequence[Episode], target: float | None, *, seed: int, deterministic: bool
) -> Statistics:
    """Return the statistics of at least one episode; `target` is the return that counts as solved."""
    returns = np.array([episode.episode_return for episode in episodes])
    info_keys = dict.fromkeys(key for episode in episodes for key in episode.info)
    return Statistics(
        env_id=env_id,
        episodes=len(episodes),
        seed=seed,
        deterministic=deterministic,
        target_return=target,
        return_mean=float(returns.mean()),
        return_std=float(returns.std()),
        return_median=float(np.median(returns)),
        return_iqm=float(iqm(returns)),
        return_iqm_ci95=iqm_interval(returns),
        return_min=float(returns.min()),
        return_max=float(returns.max()),
        length_mean=fmean(episode.episode_length for episode in episodes),
        solved_fraction=None if target is None else float((returns >= target).mean()),
        terminated_fraction=fmean(episode.terminated for episode in episodes),
        truncated_fraction=fmean(episode.truncated for episode in episodes),
        info_means={key: fmean(one.info[key] for one in episodes if key in one.info) for key in info_keys},
    )
