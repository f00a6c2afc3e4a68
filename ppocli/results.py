"""What is known of an agent and of the random policy: found out once, written beside the run, and read again."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ppocli import checkpoint
from ppocli.checkpoint import Checkpoint
from ppocli.config import Config, load_config
from ppocli.devices import use_one_thread
from ppocli.envs.episodes import Episode
from ppocli.envs.make import evaluation_envs
from ppocli.errors import PpocliError
from ppocli.evaluate import episode_lists, evaluate, greedy, random, statistics, stochastic
from ppocli.files import is_writable, regular, write_atomically, write_json
from ppocli.logs import LoggedEpisode, read_log
from ppocli.runs import Number, Run, write_episodes
from ppocli.seeds import Purpose, evaluation_seeds

NUM_EPISODES = 100
"""That an evaluation, or a baseline, has unless somebody asks for more or less."""


class Evaluation(BaseModel):
    """The episodes of `evaluation.json`: the agent's, and the random policy's from the same seeds."""

    deterministic: bool
    checkpoint_env_steps: int
    """How many env steps the agent had learned from."""
    episode_seeds: list[int]
    episode_returns: list[Number]
    random_episode_returns: list[Number]


def load_checkpoint(path: Path) -> Checkpoint:
    """Load what is to act. Raises CheckpointError."""
    use_one_thread()
    return checkpoint.load(path)


def evaluate_checkpoint(
    saved: Checkpoint, run: Run | None, num_episodes: int = NUM_EPISODES, seed: int = 0, *, sampled: bool = False
) -> dict[str, Any]:
    """Play unseen episodes, greedily unless actions are to be `sampled`, and the same ones at random.

    Returns the statistics of both, as they are printed; with every episode they are written to the `run`, unless it is
    read-only. Raises UsageError and PpocliError as the environments do, OSError.
    """
    result, _ = _evaluate(saved, run, num_episodes, seed, sampled=sampled)
    return result


def _evaluate(
    saved: Checkpoint, run: Run | None, num_episodes: int, seed: int, *, sampled: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Do what `evaluate_checkpoint` does; return the statistics, and each episode."""
    seeds = evaluation_seeds(seed, Purpose.EVALUATION, num_episodes)
    with closing(evaluation_envs(saved.config.env)) as envs:
        agent = saved.build_agent(envs)
        episodes = evaluate(envs, stochastic(agent) if sampled else greedy(agent), seeds)
        random_episodes = evaluate(envs, random(envs.action_spec), seeds)
    result = {
        **statistics(saved.config, episodes, seed, deterministic=not sampled),
        "checkpoint": str(saved.path.absolute()),
        "checkpoint_env_steps": saved.progress.env_steps,
        "random_baseline": statistics(saved.config, random_episodes, seed, deterministic=False),
    }
    random_returns = [episode.episode_return for episode in random_episodes]
    lists = {**episode_lists(episodes), "random_episode_returns": random_returns}
    if run is not None and is_writable(run.path):
        write_json(run.evaluation, {**result, **lists})
    return result, lists


def evaluation_of(run: Run) -> Evaluation:
    """Return the evaluation of a run's best agent: the one in the run, or a new one.

    A new one where that is of another agent, or of fewer episodes than an evaluation has by itself.
    Raises what `evaluate_checkpoint` and `load_checkpoint` raise.
    """
    saved = load_checkpoint(run.chosen_checkpoint())
    try:
        stored = Evaluation.model_validate_json(regular(run.evaluation).read_bytes())
        same_agent = stored.deterministic and stored.checkpoint_env_steps == saved.progress.env_steps
        if same_agent and len(stored.episode_returns) >= NUM_EPISODES:
            return stored
    except (OSError, ValidationError):
        pass  # there is none, or one of another version
    result, lists = _evaluate(saved, run, NUM_EPISODES, 0, sampled=False)
    return Evaluation.model_validate(result | lists)


def make_baseline(config: Config, folder: Path, num_episodes: int = NUM_EPISODES, seed: int = 0) -> dict[str, Any]:
    """Play random episodes and write them to a folder; return their statistics.

    Raises UsageError and PpocliError as the environments do, OSError.
    """
    started = time.perf_counter()
    episodes = _play_at_random(config, num_episodes, seed)
    result = {**statistics(config, episodes, seed, deterministic=False), "run_dir": str(folder.absolute())}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "config.yaml", config.to_yaml().encode())
    write_episodes(folder / "episodes.csv", episodes, seconds=time.perf_counter() - started)
    write_json(folder / "evaluation.json", {**result, **episode_lists(episodes)})
    return result


def stored_baseline(config: Config, folder: Path) -> list[float] | None:
    """Return the episode returns of the baseline in a folder, None where there is none of this environment."""
    try:
        stored = load_config(str(regular(folder / "config.yaml"))).env
        if (stored.id, stored.kwargs) != (config.env.id, config.env.kwargs):
            return None
        return [row.episode_return for row in read_log(folder / "episodes.csv", LoggedEpisode)] or None
    except PpocliError:
        return None


def baseline_returns(config: Config, folder: Path) -> list[float]:
    """Return the episode returns of the baseline in a folder, and put one there first where there is none.

    One of the same environment with other arguments is left as it is, and so is a read-only folder. Raises what
    `make_baseline` raises.
    """
    returns = stored_baseline(config, folder)
    if returns is None and not folder.exists() and is_writable(folder.parent):
        make_baseline(config, folder)
        returns = stored_baseline(config, folder)
    return returns or [episode.episode_return for episode in _play_at_random(config, NUM_EPISODES, 0)]


def _play_at_random(config: Config, num_episodes: int, seed: int) -> list[Episode]:
    with closing(evaluation_envs(config.env)) as envs:
        return evaluate(envs, random(envs.action_spec), evaluation_seeds(seed, Purpose.EVALUATION, num_episodes))
