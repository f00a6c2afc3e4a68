"""Run directories: where they lie, what is in them, and how they are found again."""

import csv
import itertools
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO

from filelock import FileLock, Timeout

from ppocli.config import Config, did_you_mean
from ppocli.envs.episodes import Episode
from ppocli.errors import RunError, UsageError
from ppocli.files import naming, open_log, remove_leftovers, sync_folder, write_atomically, write_json


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


class PhaseSeconds:
    """Where the time of a command goes, summed up over its iterations."""

    def __init__(self, started: float = 0.0) -> None:
        """`started`: the run's seconds at the command's start, more than 0 when it goes on with a run."""
        self._started = started
        self._spent: dict[str, float] = {}

    def add(self, row: Metrics) -> None:
        """Count an iteration."""
        if not self._spent:
            busy = row.rollout_seconds + row.update_seconds + row.evaluation_seconds
            self._spent = {"start_up": row.seconds - self._started - busy, "rollout": 0, "update": 0, "evaluation": 0}
        self._spent["rollout"] += row.rollout_seconds
        self._spent["update"] += row.update_seconds
        self._spent["evaluation"] += row.evaluation_seconds

    def shares(self, wall_seconds: float) -> dict[str, float]:
        """Return seconds that add up to `wall_seconds`, the whole command's."""
        return {**self._spent, "other": wall_seconds - sum(self._spent.values())}


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
        self._lock: FileLock | None = None
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

    @property
    def exists(self) -> bool:
        """Whether it has been created, now or by another process before."""
        return (self.path / "run.json").is_file()

    @property
    def facts(self) -> dict[str, Any]:
        """What `run.json` says. Raises RunError."""
        try:
            facts = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
            if not isinstance(facts, dict) or not isinstance(facts.setdefault("resumed", []), list):
                raise ValueError("not what ppocli writes")
            return facts
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.path / 'run.json'}: cannot read it: {error}") from error

    def create(self, config: Config, versions: dict[str, str], device: str, *, stop_when_solved: bool = False) -> None:
        """Make the directory with its `config.yaml`, `run.json` and empty logs. Raises RunError, OSError."""
        self._claim_directory()
        self.lock()
        (self.path / "checkpoints").mkdir()
        self.write_config(config)
        self._metrics = _open_csv(self.path / "metrics.csv", METRICS_COLUMNS, 0)
        self._episodes = _open_csv(self.path / "episodes.csv", EPISODE_COLUMNS, 0)
        # The last to be written: a directory that has it has everything.
        write_json(
            self.path / "run.json",
            {
                "started": _now(),
                "command": sys.argv,
                "stop_when_solved": stop_when_solved,
                "git_commit": _git_commit(),
                "versions": versions,
                "machine": {"platform": platform.platform(), "processor": platform.machine(), "device": device},
            },
        )

    def lock(self) -> None:
        """Keep every other trainer out, until `close` or the end of this process. Raises RunError, OSError."""
        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise RunError(
                f"{self.path}: another ppocli train is at work in this run; wait for it, or stop it"
            ) from error

    def resume(
        self,
        config: Config,
        *,
        metrics_bytes: int,
        episodes_bytes: int,
        episodes: int,
        stop_when_solved: bool,
        **facts: Any,
    ) -> None:
        """Go on with the logs where they were so many bytes long; what stands after that is cut off.

        `facts` are recorded in `run.json`. Raises RunError, OSError.
        """
        known, resumed = self.facts, {"at": _now(), "command": sys.argv, **facts}
        self._metrics = _open_csv(self.path / "metrics.csv", METRICS_COLUMNS, metrics_bytes)
        self._episodes = _open_csv(self.path / "episodes.csv", EPISODE_COLUMNS, episodes_bytes)
        self._num_episodes = episodes
        checkpoints = [self.checkpoint(name) for name in ("last", "previous", "best")]
        for path in (self.path / "config.yaml", self.path / "run.json", *checkpoints):
            remove_leftovers(path)
        self.write_config(config)
        write_json(
            self.path / "run.json",
            {**known, "stop_when_solved": stop_when_solved, "resumed": [*known["resumed"], resumed]},
        )

    def write_config(self, config: Config) -> None:
        """Write the resolved config. Raises OSError."""
        write_atomically(self.path / "config.yaml", config.to_yaml().encode())

    def _claim_directory(self) -> None:
        """Make the directory, under the first name that nobody has taken: `path`, `path`-2, `path`-3 …"""
        first = self.path
        try:
            first.parent.mkdir(parents=True, exist_ok=True)
            for copy in itertools.count(2):
                try:
                    self.path.mkdir()
                    break
                except FileExistsError:
                    self.path = first.with_name(f"{first.name}-{copy}")
            for folder in (first.parent, first.parent.parent):
                sync_folder(folder)  # or a power cut could take the directory's name, and all in it
        except OSError as error:
            reason = error.strerror
            raise RunError(f"{first}: cannot make this folder ({reason}); choose another --runs-dir") from error

    def log(self, metrics: Metrics, episodes: Sequence[Episode], seconds: float) -> None:
        """Append an iteration's row, and the episodes that its rollout, over at `seconds`, finished. Raises OSError."""
        assert self._metrics, "create() or resume() comes first"
        assert self._episodes
        with naming(self.path):
            csv.writer(self._metrics).writerow(astuple(metrics))
            self._metrics.flush()
            rows = _episode_rows(episodes, first=self._num_episodes, seconds=seconds)
            csv.writer(self._episodes).writerows(rows)
            self._episodes.flush()
        self._num_episodes += len(episodes)

    def sync(self) -> dict[str, int]:
        """Make the logs durable, and return how long they are, as `resume` takes it. Raises OSError."""
        assert self._metrics
        assert self._episodes
        with naming(self.path):
            return {"metrics_bytes": _sync(self._metrics), "episodes_bytes": _sync(self._episodes)}

    def close(self) -> None:
        """Close the logs, and let others in."""
        for file in (self._metrics, self._episodes):
            if file is not None:
                with suppress(OSError):  # what could not be written has been reported
                    file.close()
        if self._lock is not None:
            self._lock.release()


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
    with _open_csv(path, EPISODE_COLUMNS, 0) as file:
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


def find_run(target: str, runs_dir: Path) -> Run:
    """Return the training run that `RUN` means: a directory, or `latest`. Raises RunError."""
    path = _latest_run(runs_dir) if target == "latest" else Path(target)
    checkpoints = path / "checkpoints"
    if not checkpoints.is_dir() or checkpoints.is_symlink():
        raise RunError(f"{path}: no training run; RUN is a directory that `ppocli train` made, or `latest`")
    return Run(path)


def _latest_run(runs_dir: Path) -> Path:
    runs = [path.parent for path in runs_dir.glob("*/*/run.json") if (path.parent / "checkpoints").is_dir()]
    if not runs:
        raise RunError(
            f"latest: no training run under {runs_dir.absolute()}; train one, or name the folder with --runs-dir"
        )

    def age(path: Path) -> tuple[str, int]:
        return path.name.split("-")[0], (path / "run.json").stat().st_mtime_ns

    return max(runs, key=age)


def _open_csv(path: Path, columns: Sequence[str], length: int) -> TextIO:
    """Open a log to append to, cut to its first `length` bytes; with 0, begin it anew. Raises RunError, OSError."""
    file = open_log(path)
    try:
        found = os.fstat(file.fileno()).st_size
        if found < length:
            raise RunError(
                f"{path}: {found:,} bytes, but the checkpoint counts on {length:,}: some of its rows are gone"
            )
        with naming(path):
            file.truncate(length)
            if not length:
                csv.writer(file).writerow(columns)
    except BaseException:
        file.close()
        raise
    return file


def _sync(file: TextIO) -> int:
    """Make a file durable; return its length in bytes."""
    file.flush()
    os.fsync(file.fileno())
    return os.fstat(file.fileno()).st_size


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _episode_rows(episodes: Sequence[Episode], first: int, seconds: float) -> list[list[Any]]:
    rows = ({**vars(episode), "episode": first + n, "seconds": seconds} for n, episode in enumerate(episodes, start=1))
    return [[row[column] for column in EPISODE_COLUMNS] for row in rows]


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
