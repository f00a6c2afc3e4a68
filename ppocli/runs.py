"""Run directories: where they lie, what is in them, and how they are found again."""

import csv
import itertools
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO

from ppocli.config import Config, did_you_mean
from ppocli.envs.episodes import Episode
from ppocli.errors import RunError, UsageError
from ppocli.files import write_atomically, write_json


@dataclass(frozen=True)
class Metrics:
    """A row of `metrics.csv`, one an iteration. All but the time columns (`*seconds`, `*per_second`) are reproducible.

    Means of no episode, or of an evaluation that did not take place, are None and stand as an empty cell.
    """

    iteration: int
    env_steps: int
    seconds: float
    env_steps_per_second: float
    rollout_seconds: float
    update_seconds: float
    evaluation_seconds: float
    episodes: int
    return_mean: float | None
    return_min: float | None
    return_max: float | None
    length_mean: float | None
    policy_loss: float
    value_loss: float
    entropy: float
    approx_kl: float
    clip_fraction: float
    explained_variance: float
    gradient_norm: float
    learning_rate: float
    eval_return_mean: float | None


def episode_metrics(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Return the columns of `Metrics` that sum up the episodes of an iteration."""
    returns = [episode.episode_return for episode in episodes]
    lengths = [episode.episode_length for episode in episodes]
    return {
        "episodes": len(episodes),
        "return_mean": fmean(returns) if returns else None,
        "return_min": min(returns, default=None),
        "return_max": max(returns, default=None),
        "length_mean": fmean(lengths) if lengths else None,
    }


def seconds_by_phase(metrics: Sequence[Metrics], wall_seconds: float) -> dict[str, float]:
    """Return where the time of a run went, from all rows of its metrics: seconds that add up to `wall_seconds`."""
    first = metrics[0]
    spent = {
        "start_up": first.seconds - first.rollout_seconds - first.update_seconds - first.evaluation_seconds,
        "rollout": sum(row.rollout_seconds for row in metrics),
        "update": sum(row.update_seconds for row in metrics),
        "evaluation": sum(row.evaluation_seconds for row in metrics),
    }
    return {**spent, "other": wall_seconds - sum(spent.values())}


METRICS_COLUMNS = tuple(field.name for field in fields(Metrics))
EPISODE_COLUMNS = (
    "episode",
    "env_steps",
    "seconds",
    "environment",
    "seed",
    "episode_return",
    "episode_length",
    "terminated",
    "truncated",
)


class Run:
    """A training run's directory. Nothing is written before `create`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics: TextIO | None = None
        self._episodes: TextIO | None = None
        self._num_episodes = 0

    @property
    def evaluation(self) -> Path:
        """The file with the last evaluation's result."""
        return self.path / "evaluation.json"

    @property
    def videos(self) -> Path:
        """The folder for rendered episodes."""
        return self.path / "videos"

    def checkpoint(self, name: str) -> Path:
        """Return the file of the checkpoint `last`, `previous` or `best`."""
        return self.path / "checkpoints" / f"{name}.safetensors"

    def chosen_checkpoint(self) -> Path:
        """Return the checkpoint that the run stands for: the best, or the last while none is best yet.

        Raises RunError when it has none.
        """
        for name in ("best", "last", "previous"):
            if self.checkpoint(name).is_file():
                return self.checkpoint(name)
        raise RunError(f"{self.path}: no checkpoint in it; RUN is a directory that `ppocli train` made, or `latest`")

    def create(self, config: Config, versions: dict[str, str], device: str) -> None:
        """Make the directory with its `config.yaml`, `run.json` and empty logs. Raises RunError, OSError."""
        self._claim_directory()
        (self.path / "checkpoints").mkdir()
        write_atomically(self.path / "config.yaml", config.to_yaml().encode())
        write_json(
            self.path / "run.json",
            {
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": sys.argv,
                "git_commit": _git_commit(),
                "versions": {"python": platform.python_version(), **versions},
                "machine": {"platform": platform.platform(), "processor": platform.machine(), "device": device},
            },
        )
        self._metrics = _new_csv(self.path / "metrics.csv", METRICS_COLUMNS)
        self._episodes = _new_csv(self.path / "episodes.csv", EPISODE_COLUMNS)

    def _claim_directory(self) -> None:
        """Make the directory, under the first name that nobody has taken: `path`, `path`-2, `path`-3 …"""
        first = self.path
        try:
            first.parent.mkdir(parents=True, exist_ok=True)
            for copy in itertools.count(2):
                try:
                    self.path.mkdir()
                    return
                except FileExistsError:
                    self.path = first.with_name(f"{first.name}-{copy}")
        except OSError as error:
            reason = error.strerror
            raise RunError(f"{first}: cannot make this folder ({reason}); choose another --runs-dir") from error

    def log(self, metrics: Metrics, episodes: Sequence[Episode], seconds: float) -> None:
        """Append an iteration's row, and the episodes that its rollout, over at `seconds`, finished. Raises OSError."""
        assert self._metrics, "create() comes first"
        assert self._episodes
        csv.writer(self._metrics).writerow(astuple(metrics))
        self._metrics.flush()
        rows = _episode_rows(episodes, first=self._num_episodes, seconds=seconds)
        csv.writer(self._episodes).writerows(rows)
        self._episodes.flush()
        self._num_episodes += len(episodes)

    def close(self) -> None:
        """Close the logs."""
        for file in (self._metrics, self._episodes):
            if file is not None:
                file.close()


def new_run(runs_dir: Path, config: Config, name: str | None = None) -> Run:
    """Return a run for the directory `<env id>/<UTC time>-seed<seed>[-name]`, not yet created. Raises UsageError."""
    if name is not None and not re.fullmatch(r"[\w.-]+", name):
        raise UsageError(f"--name {name!r}: only letters, digits, '.', '_' and '-' may stand in a run's name")
    parts = [f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", f"seed{config.train.seed}", *([name] if name else [])]
    return Run(environment_folder(runs_dir, config.env.id) / "-".join(parts))


def environment_folder(runs_dir: Path, env_id: str) -> Path:
    """Return the folder that holds the runs of one environment."""
    return runs_dir / env_id.replace("/", "-")


def baseline_folder(runs_dir: Path, env_id: str) -> Path:
    """Return the folder of one environment's random baseline."""
    return environment_folder(runs_dir, env_id) / "random-baseline"


def write_episodes(path: Path, episodes: Sequence[Episode], seconds: float) -> None:
    """Write an `episodes.csv` at once. Raises OSError."""
    with _new_csv(path, EPISODE_COLUMNS) as file:
        csv.writer(file).writerows(_episode_rows(episodes, first=0, seconds=seconds))


def find_checkpoint(target: str, runs_dir: Path) -> tuple[Path, Run | None]:
    """Return the checkpoint that `RUN|CHECKPOINT` means, and the run it lies in. Raises RunError.

    A run (a directory, or `latest`) means its best checkpoint, or its last one while none is best yet.
    """
    path = _latest_run(runs_dir) if target == "latest" else Path(target)
    if path.is_dir() and path.name == "checkpoints":
        path = path.parent
    if path.is_dir():
        run = Run(path)
        return run.chosen_checkpoint(), run
    if not path.exists():
        meant = did_you_mean(target, ["latest"])
        raise RunError(
            f"{path}: no such run or checkpoint{meant or ';'} RUN is a run directory, `latest`, or a .safetensors file"
        )
    home = path.absolute().parent.parent
    return path, Run(home) if (home / "run.json").is_file() else None


def _latest_run(runs_dir: Path) -> Path:
    runs = [path.parent for path in runs_dir.glob("*/*/run.json") if (path.parent / "checkpoints").is_dir()]
    if not runs:
        raise RunError(
            f"latest: no training run under {runs_dir.absolute()}; train one, or name the folder with --runs-dir"
        )

    def age(path: Path) -> tuple[str, int]:
        return path.name.split("-")[0], (path / "run.json").stat().st_mtime_ns

    return max(runs, key=age)


def _new_csv(path: Path, columns: Sequence[str]) -> TextIO:
    file = path.open("w", newline="", encoding="utf-8")
    csv.writer(file).writerow(columns)
    return file


def _episode_rows(episodes: Sequence[Episode], first: int, seconds: float) -> list[list[Any]]:
    return [
        [{**asdict(episode), "episode": first + number, "seconds": seconds}[column] for column in EPISODE_COLUMNS]
        for number, episode in enumerate(episodes, start=1)
    ]


def _git_commit() -> str | None:
    """Return the commit of the checkout that this program runs from, None when it is installed without one.

    It ends in `-dirty` where the checkout has changes of its own.
    """
    checkout = Path(__file__).parents[1]
    if not (checkout / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
