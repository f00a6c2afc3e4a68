"""The one who writes a run's directory: it keeps all others out, and leaves it whole at any moment."""

import itertools
import os
import platform
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from ppocli.config.models import Config
from ppocli.envs.episodes import Episode
from ppocli.errors import RunError, one_line
from ppocli.files import naming, remove_leftovers, sync_folder, write_atomically, write_json
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Progress, State
from ppocli.records.info import Resumed, RunInfo
from ppocli.records.logs import EPISODE_COLUMNS, METRICS_COLUMNS, Metrics, append, logged_episodes, open_csv
from ppocli.records.run import Run

_PATIENCE_SECONDS = 0.5


class RunWriter:
    """Writes a run, from `create` or `resume` to `close`. Nothing is written before."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock: FileLock | None = None
        self._metrics: TextIO | None = None
        self._episodes: TextIO | None = None
        self._num_episodes = 0

    @property
    def _folder(self) -> Path:
        return self.run.path

    def create(self, config: Config, info: RunInfo) -> None:
        """Make the directory with its `config.yaml`, `run.json` and empty logs. Raises RunError, OSError.

        Where somebody has taken its name, the run gets another.
        """
        self._claim_directory()
        self.lock()
        (self._folder / "checkpoints").mkdir()
        self._write_config(config)
        self._open_logs(0, 0)
        # The last to be written: a directory that has it has everything.
        new = info.model_copy(update={"started": _now(), "state": "running", "git_commit": _git_commit()})
        write_json(self._folder / "run.json", new.model_dump())

    def lock(self) -> None:
        """Keep every other trainer out, until `close` or the end of this process. Raises RunError, OSError."""
        self._lock = FileLock(self._folder / ".lock")
        try:
            self._lock.acquire(timeout=_PATIENCE_SECONDS)  # `Run.is_locked` holds it for a moment
        except Timeout as error:
            raise RunError(
                f"{self._folder}: another ppocli train is at work in this run; wait for it, or stop it"
            ) from error

    def resume(self, config: Config, progress: Progress, resumed: Resumed, *, stop_when_solved: bool) -> None:
        """Continue the logs where they were as long as `progress` knows; what stands after that is removed.

        Raises RunError, OSError.
        """
        known, now = self.run.info, resumed.model_copy(update={"at": _now(), "env_steps": progress.env_steps})
        self._open_logs(progress.metrics_bytes, progress.episodes_bytes)
        self._num_episodes = progress.episodes
        checkpoints = [self.run.checkpoint(name) for name in ("last", "previous", "best")]
        for path in (self._folder / "config.yaml", self._folder / "run.json", *checkpoints):
            remove_leftovers(path)
        self._write_config(config)
        self.record(
            stop_when_solved=stop_when_solved,
            state="running",
            error=None,
            solved=known.solved if progress.solved_at_env_steps is not None else None,
            resumed=[*known.resumed, now],
        )

    def log(self, metrics: Metrics, episodes: Sequence[Episode], seconds: float) -> None:
        """Append an iteration's row, and the episodes that its rollout, over at `seconds`, finished. Raises OSError."""
        assert self._metrics, "create() or resume() comes first"
        assert self._episodes
        with naming(self._folder):
            append(self._metrics, [metrics])
            append(self._episodes, logged_episodes(episodes, self._num_episodes, seconds))
        self._num_episodes += len(episodes)

    def sync(self) -> dict[str, int]:
        """Make the logs durable; return how long they are, as `Progress` knows them. Raises OSError."""
        assert self._metrics
        assert self._episodes
        with naming(self._folder):
            return {"metrics_bytes": _sync(self._metrics), "episodes_bytes": _sync(self._episodes)}

    def save(
        self, names: Sequence[str], config: Config, progress: Progress, versions: dict[str, str], state: State
    ) -> None:
        """Write a checkpoint under each of the `names`; what was `last` becomes `previous`. Raises OSError."""
        for name in names:
            if name == "last" and self.run.checkpoint("last").exists():
                write_atomically(self.run.checkpoint("previous"), self.run.checkpoint("last").read_bytes())
            checkpoint.save(self.run.checkpoint(name), config, progress, versions, state)

    def record(self, **changed: Any) -> None:
        """Write what has become of the run to `run.json`. Raises RunError, OSError."""
        write_json(self._folder / "run.json", self.run.info.model_copy(update=changed).model_dump())

    def end(self, finished: bool, error: Exception | None) -> None:
        """Write to `run.json` how training ended. A kill does not: such a run says for ever that it is running.

        Raises RunError, OSError, but not where an `error` is to be reported that may well have the same cause.
        """
        if error is None:
            self.record(state="finished" if finished else "interrupted", error=None, ended=_now())
            return
        with suppress(OSError, RunError):
            self.record(state="failed", error=one_line(str(error)), ended=_now())

    def close(self) -> None:
        """Close the logs, and let others in."""
        for file in (self._metrics, self._episodes):
            if file is not None:
                with suppress(OSError):  # what could not be written has been reported
                    file.close()
        if self._lock is not None:
            self._lock.release()

    def _open_logs(self, metrics_bytes: int, episodes_bytes: int) -> None:
        self._metrics = open_csv(self._folder / "metrics.csv", METRICS_COLUMNS, metrics_bytes)
        self._episodes = open_csv(self._folder / "episodes.csv", EPISODE_COLUMNS, episodes_bytes)

    def _write_config(self, config: Config) -> None:
        write_atomically(self._folder / "config.yaml", config.to_yaml().encode())

    def _claim_directory(self) -> None:
        """Make the directory, under the first name that nobody has taken: `path`, `path`-2, `path`-3 …"""
        first = self._folder
        try:
            first.parent.mkdir(parents=True, exist_ok=True)
            for copy in itertools.count(2):
                try:
                    self.run.path.mkdir()
                    break
                except FileExistsError:
                    self.run.path = first.with_name(f"{first.name}-{copy}")
            for folder in (first.parent, first.parent.parent):
                sync_folder(folder)  # or a power cut could take the directory's name, and all in it
        except OSError as error:
            reason = error.strerror
            raise RunError(f"{first}: cannot make this folder ({reason}); choose another --runs-dir") from error


def machine(device: str) -> dict[str, str]:
    """Return what machine this is, and on which of its devices tensors are computed."""
    return {"platform": platform.platform(), "processor": platform.machine(), "device": device}


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
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
