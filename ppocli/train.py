"""Training: builds the parts, then yields one Report an iteration."""

import time
from collections import deque
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from ppocli import checkpoint
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.ppo import PPO
from ppocli.algorithm.rollout import collect, make_batch
from ppocli.algorithm.schedules import value_at
from ppocli.checkpoint import Progress
from ppocli.config import Config
from ppocli.devices import choose_device
from ppocli.envs.episodes import Episodes
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.evaluate import evaluate, evaluation_envs, greedy, target_return
from ppocli.runs import Metrics, Run
from ppocli.seeds import Purpose, Stream, evaluation_seeds, generator, training_seeds

SOLVED_EPISODES = 100
"""Training asks whether it has solved the task when this many last episodes average the target; so many answer."""
ITERATIONS_BETWEEN_SOLVED_CHECKS = 5


@dataclass(frozen=True)
class Report:
    """What one iteration did, and where training stands after it."""

    metrics: Metrics
    progress: Progress
    recent_return: float | None
    """Mean return of the last 100 training episodes, None before the first has ended."""
    target: float | None
    """The mean return that counts as solved, if the task or the config names one."""


def train(
    config: Config, run: Run, *, stop_when_solved: bool = False, started: float | None = None
) -> Generator[Report]:
    """Train an agent and yield a Report after each iteration, when its logs and checkpoints are written.

    `run` is created once every part is built, so that a config that cannot be trained leaves nothing behind. `started`
    is the `time.perf_counter()` that all seconds count from, by default now. Closing the generator early leaves a
    `last` checkpoint and closes the environments. Raises UsageError for an environment that does not exist or that is
    not supported, TrainingError when a number is no longer finite, OSError when the run cannot be written.
    """
    started = time.perf_counter() if started is None else started
    device = choose_device(config.train.device)
    envs = GymnasiumVectorEnv(config.env, config.env.num_envs)
    try:
        agent = _new_agent(config, envs).to(device)
        run.create(config, checkpoint.versions(), str(device))
        yield from _iterate(config, run, agent, envs, stop_when_solved, started)
    finally:
        run.close()
        envs.close()


def _new_agent(config: Config, envs: GymnasiumVectorEnv) -> Agent:
    weights = torch.Generator()
    weights.manual_seed(int(generator(config.train.seed, Stream.WEIGHTS).integers(2**63)))
    return Agent(envs.obs_size, envs.num_actions, config.network.hidden_sizes, config.network.activation, weights)


def _iterate(
    config: Config, run: Run, agent: Agent, envs: GymnasiumVectorEnv, stop_when_solved: bool, started: float
) -> Generator[Report]:
    settings, seed = config.ppo, config.train.seed
    ppo = PPO(
        agent,
        minibatch_size=settings.minibatch_size,
        update_epochs=settings.update_epochs,
        vf_coef=settings.vf_coef,
        max_grad_norm=settings.max_grad_norm,
    )
    episodes = Episodes(envs, training_seeds(seed))
    target = target_return(config)
    progress = Progress()
    recent_returns: deque[float] = deque(maxlen=SOLVED_EPISODES)
    next_solved_check = 0

    def seconds() -> float:
        return time.perf_counter() - started

    def greedy_return(purpose: Purpose, num_episodes: int) -> float:
        with closing(evaluation_envs(config.env)) as own_envs:
            played = evaluate(own_envs, greedy(agent), evaluation_seeds(seed, purpose, num_episodes))
        return float(np.mean([episode.episode_return for episode in played]))

    def save_last() -> None:
        last = run.checkpoint("last")
        if last.exists():
            last.replace(run.checkpoint("previous"))
        checkpoint.save(last, config, progress, agent, ppo)

    for iteration in range(config.num_iterations):
        progress_share = iteration / config.num_iterations
        learning_rate = value_at(settings.learning_rate, progress_share)
        at_start = seconds()

        noise_rng = generator(seed, Stream.ACTION_NOISE, iteration)
        noise = agent.distribution.draw_noise(noise_rng, settings.horizon, envs.num_envs)
        rollout = collect(episodes, agent, settings.horizon, noise)
        after_rollout = seconds()

        batch = make_batch(rollout, agent, settings.gamma, settings.gae_lambda, settings.reward_scale)
        update = ppo.update(
            batch,
            learning_rate=learning_rate,
            clip_coef=value_at(settings.clip_coef, progress_share),
            ent_coef=value_at(settings.ent_coef, progress_share),
            rng=generator(seed, Stream.SHUFFLING, iteration),
        )
        after_update = seconds()

        final = iteration + 1 == config.num_iterations
        returns = [episode.episode_return for episode in rollout.episodes]
        recent_returns.extend(returns)
        solved_return = None
        if target is not None and progress.solved_at_env_steps is None:
            looks_solved = len(recent_returns) == SOLVED_EPISODES and np.mean(recent_returns) >= target
            if final or (looks_solved and iteration >= next_solved_check):
                checked = greedy_return(Purpose.SOLVED_CHECK, SOLVED_EPISODES)
                solved_return = checked if checked >= target else None
                next_solved_check = iteration + 1 + ITERATIONS_BETWEEN_SOLVED_CHECKS
        stopping = stop_when_solved and solved_return is not None
        eval_return = None
        if not stopping and (final or _crosses(config.train.eval_interval, episodes.env_steps, config.batch_size)):
            eval_return = greedy_return(Purpose.PERIODIC_EVALUATION, config.train.eval_episodes)
        after_evaluation = seconds()

        # A run that stops because it is solved has the agent that solved it as its best, whatever came before.
        # Otherwise a tie goes to the later agent, which has learned from more.
        candidate = solved_return if stopping else eval_return
        is_best = stopping or (
            candidate is not None and (progress.best_return is None or candidate >= progress.best_return)
        )
        progress = Progress(
            iterations=iteration + 1,
            env_steps=episodes.env_steps,
            seconds=after_evaluation,
            episodes=progress.episodes + len(returns),
            best_return=candidate if is_best else progress.best_return,
            solved_at_env_steps=progress.solved_at_env_steps if solved_return is None else episodes.env_steps,
            solved_at_seconds=progress.solved_at_seconds if solved_return is None else after_evaluation,
        )
        metrics = Metrics(
            iteration=progress.iterations,
            env_steps=progress.env_steps,
            seconds=after_evaluation,
            env_steps_per_second=config.batch_size / (after_update - at_start),
            rollout_seconds=after_rollout - at_start,
            update_seconds=after_update - after_rollout,
            evaluation_seconds=after_evaluation - after_update,
            episodes=len(returns),
            return_mean=float(np.mean(returns)) if returns else None,
            return_min=min(returns, default=None),
            return_max=max(returns, default=None),
            length_mean=float(np.mean([episode.episode_length for episode in rollout.episodes])) if returns else None,
            policy_loss=update.policy_loss,
            value_loss=update.value_loss,
            entropy=update.entropy,
            approx_kl=update.approx_kl,
            clip_fraction=update.clip_fraction,
            explained_variance=update.explained_variance,
            gradient_norm=update.gradient_norm,
            learning_rate=learning_rate,
            eval_return_mean=eval_return,
        )
        run.log(metrics, rollout.episodes)
        if is_best:
            checkpoint.save(run.checkpoint("best"), config, progress, agent, ppo)
        saved = final or stopping or _crosses(config.train.checkpoint_interval, episodes.env_steps, config.batch_size)
        if saved:
            save_last()
        recent_return = float(np.mean(recent_returns)) if recent_returns else None
        try:
            yield Report(metrics, progress, recent_return, target)
        except GeneratorExit:
            if not saved:
                save_last()
            raise
        if stopping:
            return


def _crosses(interval: int, env_steps: int, batch_size: int) -> bool:
    """Whether a multiple of `interval` env steps was reached in the last `batch_size` of `env_steps`."""
    return env_steps // interval > (env_steps - batch_size) // interval
