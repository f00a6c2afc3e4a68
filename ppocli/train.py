"""Training: builds the parts, then yields one Report an iteration."""

import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace

import torch

from ppocli import checkpoint
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.normalize import RewardNormalizer
from ppocli.algorithm.ppo import PPO
from ppocli.algorithm.rollout import collect, make_batch
from ppocli.algorithm.schedules import value_at
from ppocli.checkpoint import Checkpoint, Progress, State
from ppocli.config import Config
from ppocli.devices import choose_device, keep_freed_memory, use_one_thread
from ppocli.envs.api import VectorEnv
from ppocli.envs.episodes import Episodes
from ppocli.envs.make import Environments, make_environments
from ppocli.errors import ReplayError
from ppocli.files import write_atomically
from ppocli.judge import EvaluationStopped, Judge
from ppocli.logs import Metrics, episode_metrics
from ppocli.runs import Run, Solved
from ppocli.seeds import Stream, generator, training_seeds


@dataclass(frozen=True)
class Report:
    """What one iteration did, and where training stands after it."""

    metrics: Metrics
    progress: Progress
    recent_return: float | None
    """Mean return of the last 100 training episodes, None before the first has ended."""
    target: float | None
    """The mean return that counts as solved, if the task or the config names one."""
    saved: bool
    """Whether a checkpoint was written after this iteration."""


@dataclass
class Training:
    """All that one iteration hands on to the next."""

    ppo: PPO
    rewards: RewardNormalizer
    episodes: Episodes
    judge: Judge
    progress: Progress

    def state(self) -> State:
        """Return what a checkpoint holds, beside the config and the progress."""
        return {**self._small_parts(), "episodes": self.episodes.state_dict()}

    def snapshot(self) -> Callable[[], State]:
        """Return what gives the `state` of this moment later. It costs little until it is asked."""
        parts = {
            part: {name: torch.as_tensor(values).clone() for name, values in named.items()}
            for part, named in self._small_parts().items()
        }
        episodes = self.episodes.snapshot()
        return lambda: {**parts, "episodes": episodes.state_dict()}

    def _small_parts(self) -> State:
        return {
            "agent": self.ppo.agent.state_dict(),
            "optimizer": self.ppo.state_dict(),
            "rewards": self.rewards.state_dict(),
            "judge": self.judge.state_dict(),
        }


def train(
    config: Config,
    run: Run,
    environments: Environments | None = None,
    *,
    stop_when_solved: bool = False,
    started: float | None = None,
    resume: bool = False,
    saved: Checkpoint | None = None,
    allow_inexact: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Report]:
    """Train an agent and yield a Report after each iteration, when its logs and checkpoints are written.

    `environments` are made here unless they are given, and closed at the end. `run` is created once every part is
    built, so that a config that cannot be trained leaves nothing behind; with `resume` it exists already, locked by the
    caller, and is gone on with, from `saved` or, where it has no checkpoint yet, from the start. `started` is the
    `time.perf_counter()` that all seconds count from, by default now. Closing the generator early leaves a `last`
    checkpoint. So does `should_stop`, which is asked while greedy episodes are played, as that can take long: the
    iteration that they belong to is then taken back, and the generator ends.

    Raises UsageError for an environment that does not exist or that is not supported, TrainingError when a number is no
    longer finite, what an environment raises, with a note of where it did, ReplayError when one does not come to where
    it stood (unless `allow_inexact`: then all begin new episodes), PpocliError when a worker process dies, OSError when
    the run cannot be written.
    """
    assert resume or saved is None
    started = time.perf_counter() if started is None else started
    use_one_thread()
    keep_freed_memory()
    device = choose_device(config.train.device)
    environments = environments or make_environments(config)
    try:
        judge = Judge(config, environments.evaluation, first_solver_wins=stop_when_solved, should_stop=should_stop)
        training, exact = _build(config, environments.training, device, judge, saved, allow_inexact)
        progress = training.progress
        if resume:
            run.resume(
                config,
                metrics_bytes=progress.metrics_bytes,
                episodes_bytes=progress.episodes_bytes,
                episodes=progress.episodes,
                stop_when_solved=stop_when_solved,
                solved=progress.solved_at_env_steps is not None,
                env_steps=progress.env_steps,
                exact=exact,
            )
        else:
            run.create(
                config,
                checkpoint.versions(),
                str(device),
                target_return=judge.target,
                stop_when_solved=stop_when_solved,
            )
        error: Exception | None = None
        try:
            yield from _iterate(config, run, training, stop_when_solved, started - progress.seconds)
        except Exception as raised:
            error = raised
            raise
        finally:
            run.end(is_finished(config, training.progress, stop_when_solved=stop_when_solved), error)
    finally:
        run.close()
        environments.close()


def is_finished(config: Config, progress: Progress, *, stop_when_solved: bool) -> bool:
    """Whether nothing is left to train."""
    solved = progress.solved_at_env_steps is not None
    return progress.iterations >= config.num_iterations or (stop_when_solved and solved)


def _build(
    config: Config,
    envs: VectorEnv,
    device: torch.device,
    judge: Judge,
    saved: Checkpoint | None,
    allow_inexact: bool,
) -> tuple[Training, bool]:
    """Return everything as it is at the start, or as it was `saved`; and whether its episodes are just as they were."""
    if saved is not None:
        saved.check_layers(envs)
    agent = _new_agent(config, envs, device)
    ppo = PPO(
        agent,
        minibatch_size=config.ppo.minibatch_size,
        update_epochs=config.ppo.update_epochs,
        vf_coef=config.ppo.vf_coef,
        max_grad_norm=config.ppo.max_grad_norm,
        norm_adv=config.ppo.norm_adv,
        clip_vloss=config.ppo.clip_vloss,
        target_kl=config.ppo.target_kl,
    )
    rewards = RewardNormalizer(config.env.num_envs, config.ppo.gamma)
    if saved is None:
        episodes = Episodes(envs, training_seeds(config.train.seed))
        return Training(ppo, rewards, episodes, judge, Progress()), True
    saved.check_parts(agent=agent, optimizer=ppo, rewards=rewards)
    agent.load_state_dict(saved.part("agent"))
    ppo.load_state_dict(saved.part("optimizer"))
    rewards.load_state_dict(saved.part("rewards"))
    judge.load_state_dict(saved.arrays("judge"))
    episodes, exact = _resume_episodes(config, envs, saved, allow_inexact)
    if not exact:
        rewards.returns[:] = 0.0  # of the episodes that are given up
    return Training(ppo, rewards, episodes, judge, saved.progress), exact


def _new_agent(config: Config, envs: VectorEnv, device: torch.device) -> Agent:
    weights = torch.Generator()
    weights.manual_seed(int(generator(config.train.seed, Stream.WEIGHTS).integers(2**63)))
    agent = Agent(envs.obs_size, envs.action_spec, **dict(config.network), generator=weights)
    # Apple's GPUs know no float64: there the agent's statistics are kept in float32.
    return agent.to(device, torch.float32) if device.type == "mps" else agent.to(device)


def _resume_episodes(config: Config, envs: VectorEnv, saved: Checkpoint, allow_inexact: bool) -> tuple[Episodes, bool]:
    """Return the episodes, and whether they stand just where they stood. Raises ReplayError."""
    seeds, state = training_seeds(config.train.seed), saved.arrays("episodes")
    try:
        if config.env.backend == "envpool":
            raise ReplayError("EnvPool's environments cannot be brought back to where they stood")
        return Episodes(envs, seeds, state), True
    except ReplayError as error:
        if not allow_inexact:
            raise ReplayError(
                f"{error}; with --allow-inexact training goes on all the same, with new episodes in all environments"
            ) from error
        return Episodes(envs, seeds, state, replay=False), False


def _iterate(config: Config, run: Run, training: Training, stop_when_solved: bool, started: float) -> Generator[Report]:
    settings, seed = config.ppo, config.train.seed
    ppo, rewards, episodes, judge = training.ppo, training.rewards, training.episodes, training.judge
    agent = ppo.agent

    def seconds() -> float:
        return time.perf_counter() - started

    def save(*names: str, state: Callable[[], State] = training.state) -> None:
        training.progress = replace(training.progress, **run.sync())  # the logs first: a checkpoint counts on them
        for name in names:
            if name == "last" and run.checkpoint("last").exists():
                write_atomically(run.checkpoint("previous"), run.checkpoint("last").read_bytes())
            checkpoint.save(run.checkpoint(name), config, training.progress, state())

    while not is_finished(config, training.progress, stop_when_solved=stop_when_solved):
        iteration, before = training.progress.iterations, training.snapshot()
        done = iteration / config.num_iterations
        learning_rate = value_at(settings.learning_rate, done)
        start = seconds()

        noise_rng = generator(seed, Stream.ACTION_NOISE, iteration)
        noise = agent.distribution.draw_noise(noise_rng, settings.horizon, config.env.num_envs)
        rollout = collect(episodes, agent, settings.horizon, noise)
        collected = seconds()

        reward_scale = settings.reward_scale
        if settings.normalize_rewards:
            rewards.add(rollout.rewards, rollout.terminated | rollout.truncated)
            reward_scale *= rewards.scale
        batch = make_batch(rollout, agent, settings.gamma, settings.gae_lambda, reward_scale)
        update = ppo.update(
            batch,
            learning_rate=learning_rate,
            clip_coef=value_at(settings.clip_coef, done),
            ent_coef=value_at(settings.ent_coef, done),
            rng=generator(seed, Stream.SHUFFLING, iteration),
        )
        # Only now: all that this iteration computes must come from the statistics that acted.
        agent.learn_obs(torch.from_numpy(rollout.obs).to(agent.device))
        updated = seconds()

        try:
            verdict = judge.judge(agent, iteration, rollout.episodes)
        except EvaluationStopped:
            save("last", state=before)
            return
        judged = seconds()

        progress = replace(
            training.progress,
            iterations=iteration + 1,
            env_steps=episodes.env_steps,
            seconds=judged,
            episodes=training.progress.episodes + len(rollout.episodes),
            best_return=judge.best_return,
        )
        if verdict.solved_return is not None:
            progress = replace(progress, solved_at_env_steps=episodes.env_steps, solved_at_seconds=judged)
            run.record(solved=Solved(env_steps=episodes.env_steps, seconds=judged, return_mean=verdict.solved_return))
        training.progress = progress
        metrics = Metrics(
            iteration=progress.iterations,
            env_steps=progress.env_steps,
            seconds=judged,
            env_steps_per_second=config.batch_size / (updated - start),
            rollout_seconds=collected - start,
            update_seconds=updated - collected,
            evaluation_seconds=judged - updated,
            **episode_metrics(rollout.episodes),
            **asdict(update),
            learning_rate=learning_rate,
            eval_return_mean=verdict.eval_return,
        )
        run.log(metrics, rollout.episodes, seconds=collected)

        ends = is_finished(config, progress, stop_when_solved=stop_when_solved)
        saves = ends or progress.iterations % config.checkpoint_iterations == 0
        if verdict.is_best or saves:
            save(*["best"] * verdict.is_best, *["last"] * saves)
        try:
            yield Report(metrics, training.progress, judge.recent_return, judge.target, verdict.is_best or saves)
        except GeneratorExit:
            if not saves:
                save("last")
            raise
