"""Results that are found out once and kept with a run: its evaluation, and its environment's random baseline."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from ppocli.config.load import load_stored_config
from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.envs.episodes import Episode
from ppocli.errors import PpocliError
from ppocli.files import regular, write_atomically, write_json
from ppocli.records.info import Number
from ppocli.records.logs import Log, LoggedEpisode, logged_episodes, read_log


class Evaluation(BaseModel):
    """The episodes of `evaluation.json`: the agent's, and the random policy's from the same seeds."""

    deterministic: bool
    checkpoint_env_steps: int  # how many env steps the agent had learned from
    checkpoint_digest: str = ""  # of older evaluations none is known
    episode_seeds: list[int]
    episode_returns: Annotated[list[Number], Field(min_length=1)]
    episode_lengths: list[int] = []
    random_episode_returns: list[Number]
    greedy_shortfall: Number | None = None


def read_evaluation(path: Path) -> Evaluation | None:
    """Return the evaluation in a file, None where there is none, or one of another version. Raises RunError."""
    try:
        return Evaluation.model_validate_json(regular(path).read_bytes())
    except (OSError, ValidationError):
        return None


def write_evaluation(path: Path, result: Mapping[str, Any], evaluation: Evaluation) -> None:
    """Write what an evaluation came to, and every episode of it. Raises OSError."""
    write_json(path, {**result, **evaluation.model_dump()})


class _Baseline(BaseModel):
    """What of a baseline's `evaluation.json` tells whether it is of the same task."""

    masks_actions: bool = False  # whether only what the environment allowed was drawn; older ones knew nothing of it


def read_baseline(folder: Path, env: EnvConfig, *, masks_actions: bool = False) -> list[float] | None:
    """Return the episode returns of the baseline in a folder, None where there is none of this task."""
    try:
        if load_stored_config(regular(folder / "config.yaml")).evaluated_in.task != env.task:
            return None
        told = _Baseline.model_validate_json(regular(folder / "evaluation.json").read_bytes())
        if told.masks_actions != masks_actions:
            return None
        return [row.episode_return for row in read_log(folder / "episodes.csv", LoggedEpisode)] or None
    except (PpocliError, OSError, ValidationError):
        return None


def write_baseline(
    folder: Path, config: Config, result: Mapping[str, Any], episodes: Sequence[Episode], *, seconds: float
) -> None:
    """Write what the random policy came to in so many seconds, and every episode of it. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "config.yaml", config.to_yaml().encode())
    with closing(Log(folder / "episodes.csv", LoggedEpisode, 0, config.env.info_keys)) as log:
        log.append(logged_episodes(episodes, 0, seconds))
    lists = {
        "episode_seeds": [episode.seed for episode in episodes],
        "episode_returns": [episode.episode_return for episode in episodes],
        "episode_lengths": [episode.episode_length for episode in episodes],
    }
    write_json(folder / "evaluation.json", {**result, **lists})
