"""What one iteration of training hands on to the next, and the iteration itself."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppocli.algorithm.agent import Agent, States
from ppocli.algorithm.normalize import RewardNormalizer
from ppocli.algorithm.rollout import Rollout, collect, make_batch
from ppocli.algorithm.updates.api import Update
from ppocli.config.models import Config
from ppocli.envs.episodes import Episodes
from ppocli.evaluation.judge import Judge
from ppocli.records.checkpoint import Progress, State
from ppocli.records.logs import Metrics
from ppocli.seeds import Stream, generator
from ppocli.training.outcome import Iteration, episode_metrics, saturated_actions


@dataclass
class Training:
    """All that one iteration hands on to the next; what is to outlive it is a part of `state`, too."""

    config: Config
    agent: Agent
    update: Update
    rewards: RewardNormalizer
    states: States  # what the agent remembers of the current episodes
    episodes: Episodes
    judge: Judge
    progress: Progress
    clock: Callable[[], float]  # seconds of training so far, those before a run was resumed included

    def step(self) -> Iteration:
        """Do one iteration: collect, make a batch, update, judge.

        Raises NonFiniteError, what environments raise, EvaluationStopped: only a `snapshot` from before is of use then.
        """
        config, agent, iteration = self.config, self.agent, self.progress.iterations
        start = self.clock()

        noise_rng = generator(config.train.seed, Stream.ACTION_NOISE, iteration)
        noise = agent.draw_noise(noise_rng, config.rollout.horizon, config.env.num_envs)
        rollout = collect(self.episodes, agent, noise, self.states)
        self.states = rollout.next_states
        collected = self.clock()

        gamma, gae_lambda, reward_scale = config.rollout.gamma, config.rollout.gae_lambda, self._reward_scale(rollout)
        batch = make_batch(rollout, agent, gamma, gae_lambda, reward_scale, baseline=config.has_baseline)
        shuffling_rng = generator(config.train.seed, Stream.SHUFFLING, iteration)
        update = self.update.update(batch, done=config.schedule_share(iteration), rng=shuffling_rng)
        # Only now: all that this iteration computes must come from the statistics that acted.
        agent.learn_obs(agent.tensor(rollout.obs))
        updated = self.clock()

        verdict = self.judge.judge(agent, iteration, rollout.episodes, self._is_out_of_time)
        if verdict.played and self.judge.envs is self.episodes.envs:  # as there may be no others
            self.episodes.begin_anew()
            self.rewards.returns[:] = 0.0
            self.states = agent.no_states(self.episodes.envs.num_envs)
        judged = self.clock()

        env_steps, before = self.episodes.env_steps, self.progress
        solved = verdict.solved_return is not None
        self.progress = replace(
            before,
            iterations=iteration + 1,
            env_steps=env_steps,
            seconds=judged,
            episodes=before.episodes + len(rollout.episodes),
            best_return=self.judge.best_return,
            evaluations_without_better=self.judge.without_better,
            solved_at_env_steps=env_steps if solved else before.solved_at_env_steps,
            solved_at_seconds=judged if solved else before.solved_at_seconds,
        )
        metrics = Metrics(
            iteration=iteration + 1,
            env_steps=env_steps,
            seconds=judged,
            env_steps_per_second=config.batch_size / (updated - start),
            rollout_seconds=collected - start,
            update_seconds=updated - collected,
            evaluation_seconds=judged - updated,
            **episode_metrics(rollout.episodes),
            **asdict(update),
            eval_return_mean=verdict.eval_return,
            saturated_actions=saturated_actions(rollout.actions, self.episodes.envs.action_spec),
        )
        return Iteration(metrics, self.progress, rollout.episodes, rollout_ended=collected, verdict=verdict)

    def _is_out_of_time(self) -> bool:
        return self.config.train.max_seconds is not None and self.clock() >= self.config.train.max_seconds

    def _reward_scale(self, rollout: Rollout) -> float:
        """Return what rewards are multiplied by for learning, once the rollout's own have counted."""
        settings = self.config.rollout
        if not settings.normalize_rewards:
            return settings.reward_scale
        self.rewards.add(rollout.rewards, rollout.terminated | rollout.truncated)
        return settings.reward_scale * self.rewards.scale

    def state(self) -> State:
        """Return what a checkpoint holds, beside the config and the progress."""
        return {**self._small_parts(), "episodes": self.episodes.state_dict()}

    def agent_alone(self) -> State:
        """Return the part of the state that acts."""
        return {"agent": _arrays(self.agent.state_dict())}

    def snapshot(self) -> Callable[[], State]:
        """Return what gives the `state` of this moment later. It costs little until it is asked."""
        parts = {part: {name: array.copy() for name, array in own.items()} for part, own in self._small_parts().items()}
        episodes = self.episodes.snapshot()
        return lambda: {**parts, "episodes": episodes.state_dict()}

    def _small_parts(self) -> State:
        return {
            **self.agent_alone(),
            "optimizer": _arrays(self.update.state_dict()),
            "rewards": _arrays(self.rewards.state_dict()),
            "judge": self.judge.state_dict(),
            "memory": {} if self.states is None else {"states": self.states},
        }


def _arrays(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, NDArray[Any]]:
    return {name: np.asarray(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}
