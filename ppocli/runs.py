"""A run's directory: where it lies, what is in it, and who may write there."""

import csv
import itertools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal, TextIO

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ppocli.config import Config, load_config, preset_names
from ppocli.envs.episodes import Episode
from ppocli.errors import RunError, UsageError, one_line
from ppocli.files import naming, regular, remove_leftovers, sync_folder, write_atomically, write_json
from ppocli.logs import (
    EPISODE_COLUMNS,
    LARGEST,
    METRICS_COLUMNS,
    LoggedEpisode,
    Metrics,
    logged_episodes,
    open_csv,
    read_log,
)

_BASELINE = "random-baseline"
_PATIENCE_SECONDS = 0.5


Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Solved(BaseModel):
    """When a run has solved its task."""

    env_steps: Count
    seconds: Number
    return_mean: Number
    """Of the greedy policy, over the 100 episodes that showed it."""


class Resumed(BaseModel):
    """When and how a run was gone on with."""

    model_config = ConfigDict(strict=True, extra="allow")

    at: str = ""
    """UTC, ISO 8601."""
    command: list[str] = []
    env_steps: Count = 0
    """Where it stood."""
    exact: bool = True
    """Whether its episodes could be gone on with."""

    @property
    def changed_something(self) -> bool:
        """Whether the run would have come out otherwise without it; an interruption alone changes nothing."""
        return bool(_values("--set", self.command)) or not self.exact


class Facts(BaseModel):
    """What `run.json` says of a run."""

    model_config = ConfigDict(strict=True, extra="allow")

    started: str = ""
    """UTC, ISO 8601."""
    command: list[str] = []
    name: str | None = None
    target_return: Number | None = None
    """The mean return that counts as solved, None where the task has none."""
    stop_when_solved: bool = False
    state: Literal["running", "finished", "interrupted", "failed"] = "interrupted"
    """`running` stays there for ever when the process is killed."""
    solved: Solved | None = None
    ended: str | None = None
    error: str | None = None
    """What a failed run failed of."""
    git_commit: str | None = None
    versions: dict[str, str] = {}
    machine: dict[str, str] = {}
    resumed: list[Resumed] = []

    @property
    def config_name(self) -> str:
        """What the command called its config, without folder and suffix; empty where that is not known."""
        name = one_line(["", *_values("--config", self.command)][-1])
        return name if name in preset_names() else PureWindowsPath(name).stem  # which knows both kinds of slashes

    @property
    def overrides(self) -> list[str]:
        """Each KEY=VALUE that the command set."""
        return _values("--set", self.command)


def _values(option: str, command: Sequence[str]) -> list[str]:
    """Return the values that an option has in a command, in their order."""
    found = []
    for word, following in itertools.pairwise([*command, ""]):
        if word == option:
            found.append(following)
        elif word.startswith(f"{option}="):
            found.append(word.partition("=")[2])
    return found


class Run:
    """A training run's directory. Nothing is written before `create`."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name
        self._lock: FileLock | None = None
        self._metrics: TextIO | None = None
        self._episodes: TextIO | None = None
        self._num_episodes = 0

    @property
    def evaluation(self) -> Path:
        """The file with the last evaluation's result."""
        return self.path / "evaluation.json"

    @property
    def baseline(self) -> Path:
        """The folder of its environment's random baseline."""
        return self.path.absolute().parent / _BASELINE

    @property
    def plots(self) -> Path:
        """The folder for figures."""
        return self.path / "plots"

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
    def facts(self) -> Facts:
        """What `run.json` says. Raises RunError."""
        path = self.path / "run.json"
        try:
            return Facts.model_validate_json(regular(path).read_bytes())
        except OSError as error:
            raise RunError(f"{path}: cannot read it: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RunError(f"{path}: cannot read it: {place}{': ' if place else ''}{first['msg']}") from error

    @property
    def config(self) -> Config:
        """What `config.yaml` says, read anew each time. Raises UsageError, RunError where it is no file."""
        return load_config(str(regular(self.path / "config.yaml")))

    def metrics(self) -> list[Metrics]:
        """Return the rows of `metrics.csv`. Raises RunError."""
        return read_log(self.path / "metrics.csv", Metrics)

    def episodes(self) -> list[LoggedEpisode]:
        """Return the rows of `episodes.csv`. Raises RunError."""
        return read_log(self.path / "episodes.csv", LoggedEpisode)

    def create(
        self,
        config: Config,
        versions: dict[str, str],
        device: str,
        *,
        target_return: float | None = None,
        stop_when_solved: bool = False,
    ) -> None:
        """Make the directory with its `config.yaml`, `run.json` and empty logs. Raises RunError, OSError."""
        self._claim_directory()
        self.lock()
        (self.path / "checkpoints").mkdir()
        self.write_config(config)
        self._metrics = open_csv(self.path / "metrics.csv", METRICS_COLUMNS, 0)
        self._episodes = open_csv(self.path / "episodes.csv", EPISODE_COLUMNS, 0)
        # The last to be written: a directory that has it has everything.
        facts = Facts(
            started=_now(),
            command=sys.argv,
            name=self.name,
            target_return=target_return,
            stop_when_solved=stop_when_solved,
            state="running",
            git_commit=_git_commit(),
            versions=versions,
            machine={"platform": platform.platform(), "processor": platform.machine(), "device": device},
        )
        write_json(self.path / "run.json", facts.model_dump())

    def lock(self) -> None:
        """Keep every other trainer out, until `close` or the end of this process. Raises RunError, OSError."""
        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=_PATIENCE_SECONDS)  # `is_locked` holds it for a moment
        except Timeout as error:
            raise RunError(
                f"{self.path}: another ppocli train is at work in this run; wait for it, or stop it"
            ) from error

    @property
    def is_locked(self) -> bool:
        """Whether a trainer is at work in it, here or in another process."""
        try:
            with FileLock(self.path / ".lock", blocking=False):
                return False
        except Timeout:
            return True
        except OSError:  # a directory that nobody can write to
            return False

    def record(self, **facts: Any) -> None:
        """Write what has become of the run to `run.json`. Raises RunError, OSError."""
        write_json(self.path / "run.json", self.facts.model_copy(update=facts).model_dump())

    def end(self, finished: bool, error: Exception | None) -> None:
        """Write to `run.json` how training ended. A kill does not: such a run says for ever that it is running.

        Raises RunError, OSError, but not where an `error` is to be reported that may well have the same cause.
        """
        if error is None:
            self.record(state="finished" if finished else "interrupted", error=None, ended=_now())
            return
        with suppress(OSError, RunError):
            self.record(state="failed", error=one_line(str(error)), ended=_now())

    def resume(
        self,
        config: Config,
        *,
        metrics_bytes: int,
        episodes_bytes: int,
        episodes: int,
        stop_when_solved: bool,
        solved: bool,
        **facts: Any,
    ) -> None:
        """Go on with the logs where they were so many bytes long; what stands after that is cut off.

        `facts` are recorded in `run.json`. Raises RunError, OSError.
        """
        known, resumed = self.facts, Resumed(at=_now(), command=sys.argv, **facts)
        self._metrics = open_csv(self.path / "metrics.csv", METRICS_COLUMNS, metrics_bytes)
        self._episodes = open_csv(self.path / "episodes.csv", EPISODE_COLUMNS, episodes_bytes)
        self._num_episodes = episodes
        checkpoints = [self.checkpoint(name) for name in ("last", "previous", "best")]
        for path in (self.path / "config.yaml", self.path / "run.json", *checkpoints):
            remove_leftovers(path)
        self.write_config(config)
        self.record(
            stop_when_solved=stop_when_solved,
            state="running",
            error=None,
            solved=known.solved if solved else None,
            resumed=[*known.resumed, resumed],
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
            rows = logged_episodes(episodes, self._num_episodes, seconds)
            csv.writer(self._episodes).writerows(map(astuple, rows))
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
    return Run(environment_folder(runs_dir, config.env.id) / "-".join(parts), name)


def environment_folder(runs_dir: Path, env_id: str) -> Path:
    """Return the folder that holds the runs of one environment."""
    return runs_dir / env_id.replace("/", "-")


def baseline_folder(runs_dir: Path, env_id: str) -> Path:
    """Return the folder of one environment's random baseline."""
    return environment_folder(runs_dir, env_id) / _BASELINE


def write_episodes(path: Path, episodes: Sequence[Episode], seconds: float) -> None:
    """Write an `episodes.csv` at once. Raises OSError."""
    with open_csv(path, EPISODE_COLUMNS, 0) as file:
        csv.writer(file).writerows(map(astuple, logged_episodes(episodes, 0, seconds)))


def _sync(file: TextIO) -> int:
    """Make a file durable; return its length in bytes."""
    file.flush()
    os.fsync(file.fileno())
    return os.fstat(file.fileno()).st_size


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


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
