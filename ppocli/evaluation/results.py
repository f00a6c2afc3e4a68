"""What is known of an agent and of the random policy: found out once, kept with the run, and read again."""

import time
from contextlib import closing
from pathlib import Path

from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.device import threads
from ppocli.envs.api import VectorEnv
from ppocli.envs.episodes import Episode
from ppocli.envs.make import evaluation_envs
from ppocli.errors import CheckpointError
from ppocli.evaluation import NUM_EPISODES
from ppocli.evaluation.agents import load_agent
from ppocli.evaluation.play import Policy, Tell, evaluate, greedy, random, stochastic, tell_nobody
from ppocli.evaluation.statistics import AgentResult, BaselineResult, greedy_shortfall, statistics, target_return
from ppocli.files import is_writable
from ppocli.records import checkpoint, kept
from ppocli.records.checkpoint import Checkpoint
from ppocli.records.run import Run
from ppocli.seeds import Purpose, evaluation_seeds


def evaluate_checkpoint(
    saved: Checkpoint,
    run: Run | None,
    num_episodes: int = NUM_EPISODES,
    seed: int = 0,
    *,
    task: EnvConfig | None = None,
    sampled: bool = False,
    tell: Tell = tell_nobody,
) -> AgentResult:
    """Play unseen episodes, greedily unless actions are to be `sampled`, and the same ones at random.

    They are of the task that its config says, unless another one is given. All is kept with the `run`, unless that is
    read-only. Raises what the environments raise, CheckpointError, OSError.
    """
    task = saved.config.evaluated_in if task is None else task
    return _evaluate(saved, run, task, num_episodes, seed, sampled=sampled, tell=tell)[0]


def _evaluate(
    saved: Checkpoint,
    run: Run | None,
    task: EnvConfig,
    num_episodes: int = NUM_EPISODES,
    seed: int = 0,
    *,
    sampled: bool = False,
    tell: Tell = tell_nobody,
) -> tuple[AgentResult, kept.Evaluation]:
    """Do what `evaluate_checkpoint` does; return each episode, too."""
    env_id = task.id
    with closing(evaluation_envs(task)) as envs, threads(envs.obs_spec.threads):
        agent, target = load_agent(saved, envs), target_return(saved.config, envs)
        episodes = _play(envs, stochastic(agent) if sampled else greedy(agent), num_episodes, seed, tell)
        random_episodes = _play(envs, _random(envs), num_episodes, seed, tell)
    returns = [episode.episode_return for episode in episodes]
    trained = [*saved.part("judge").get("recent_returns", ())]  # of the last training episodes until then
    comparable = not sampled and task.task == saved.config.env.task
    baseline = statistics(env_id, random_episodes, target, seed=seed, deterministic=False)
    result = AgentResult(
        **vars(statistics(env_id, episodes, target, seed=seed, deterministic=not sampled)),
        checkpoint=saved.path.absolute(),
        checkpoint_env_steps=saved.progress.env_steps,
        env_kwargs=task.kwargs,
        random_baseline=baseline,
        greedy_shortfall=greedy_shortfall(returns, trained, baseline.return_mean) if comparable else None,
    )
    evaluation = kept.Evaluation(
        **vars(result),
        checkpoint_digest=saved.digest,
        episode_seeds=[episode.seed for episode in episodes],
        episode_returns=returns,
        episode_lengths=[episode.episode_length for episode in episodes],
        random_episode_returns=[episode.episode_return for episode in random_episodes],
    )
    if run is not None and is_writable(run.path):
        kept.write_evaluation(run.evaluation_in(task), vars(result), evaluation)
    return result, evaluation


def evaluation_of(run: Run) -> kept.Evaluation:
    """Return the evaluation of a run's best agent: the run's own, or where that is of another or shorter, a new one.

    Raises what `evaluate_checkpoint` and `checkpoint.load` raise.
    """
    saved = checkpoint.load(run.chosen_checkpoint())
    if not saved.is_of(run.config):
        raise CheckpointError(f"{saved.path}: of another run, {saved.config.env.id}, seed {saved.config.train.seed}")
    stored = kept.read_evaluation(run.evaluation)
    if stored and stored.deterministic and len(stored.episode_returns) >= NUM_EPISODES:
        same_steps = stored.checkpoint_env_steps == saved.progress.env_steps
        if same_steps and stored.checkpoint_digest in (saved.digest, ""):
            return stored
    return _evaluate(saved, run, saved.config.evaluated_in)[1]


def make_baseline(
    config: Config, folder: Path, num_episodes: int = NUM_EPISODES, seed: int = 0, tell: Tell = tell_nobody
) -> BaselineResult:
    """Keep random episodes in a folder; return their statistics. Raises what the environments raise, OSError."""
    started = time.perf_counter()
    with closing(evaluation_envs(config.evaluated_in)) as envs:
        episodes = _play(envs, _random(envs), num_episodes, seed, tell)
        target, masks_actions = target_return(config, envs), envs.obs_spec.num_masked > 0
    result = BaselineResult(
        **vars(statistics(config.env.id, episodes, target, seed=seed, deterministic=False)),
        run_dir=folder.absolute(),
        masks_actions=masks_actions,
    )
    kept.write_baseline(folder, config, vars(result), episodes, seconds=time.perf_counter() - started)
    return result


def baseline_returns(config: Config, folder: Path, *, masks_actions: bool = False) -> list[float]:
    """Return the episode returns of the baseline in a folder, and put one there first where there is none.

    One with other arguments is left as it is, and so is a read-only folder. Raises what `make_baseline` raises.
    """
    empty = not (folder / "evaluation.json").exists()  # but for the videos of `render --random`
    returns = kept.read_baseline(folder, config.evaluated_in, masks_actions=masks_actions)
    if returns is None and empty and is_writable(folder if folder.exists() else folder.parent):
        make_baseline(config, folder)
        returns = kept.read_baseline(folder, config.evaluated_in, masks_actions=masks_actions)
    if returns is not None:
        return returns
    with closing(evaluation_envs(config.evaluated_in)) as envs:
        return [episode.episode_return for episode in _play(envs, _random(envs), NUM_EPISODES, 0)]


def _random(envs: VectorEnv) -> Policy:
    return random(envs.action_spec, envs.obs_spec)


def _play(envs: VectorEnv, policy: Policy, num_episodes: int, seed: int, tell: Tell = tell_nobody) -> list[Episode]:
    return evaluate(envs, policy, evaluation_seeds(seed, Purpose.EVALUATION, num_episodes), tell)
