"""The one who writes a run's directory: it keeps all others out, and leaves it whole at any moment."""

import itertools
import platform
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ppocli.config.models import Config
from ppocli.envs.episodes import Episode
from ppocli.errors import RunError, one_line
from ppocli.files import naming, remove_leftovers, sync_folder, write_atomically, write_json
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Progress, State
from ppocli.records.info import End, Resumed, RunInfo
from ppocli.records.logs import Log, LoggedEpisode, Metrics, logged_episodes
from ppocli.records.run import Run
from ppocli.records.tensorboard import Curves, import_tensorboard, results_of


class RunWriter:
    """Writes a run, from `create` or `resume` to `close`. Nothing is written before."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock: FileLock | None = None
        self._logs: list[Log] = []  # metrics and episodes
        self._num_episodes = 0
        self._curves: Curves | None = None

    def create(self, config: Config, info: RunInfo) -> None:
        """Make the directory, by another name where its own is taken, and its files. Raises PpocliError, OSError."""
        if config.train.tensorboard:
            import_tensorboard()
        self._claim_directory()
        self.lock()
        (self.run.path / "checkpoints").mkdir()
        write_atomically(self.run.path / "config.yaml", config.to_yaml().encode())
        self._open_logs(config, 0, 0)
        # The last to be written: a directory that has it has everything.
        began = {"started": _now(), "began_with_env_steps": config.train.env_steps, "git_commit": _git_commit()}
        write_json(self.run.path / "run.json", info.model_copy(update={**began, "state": "running"}).model_dump())

    def lock(self) -> None:
        """Keep every other trainer out, until `close` or the end of this process. Raises RunError, OSError."""
        path = self.run.path
        self._lock = FileLock(path / ".lock")
        try:
            self._lock.acquire(timeout=0.5)  # `Run.is_locked` holds it for a moment
        except Timeout as error:
            raise RunError(f"{path}: another ppocli train is at work in this run; wait for it, or stop it") from error

    def resume(self, config: Config, progress: Progress, resumed: Resumed, target: float | None) -> None:
        """Continue the logs from `progress`; what stands after that is removed. Raises RunError, OSError."""
        known, now = self.run.info, resumed.model_copy(update={"at": _now(), "env_steps": progress.env_steps})
        began = known.began_with_env_steps or self.run.config.train.env_steps  # an older run has not recorded it
        self._open_logs(config, progress.metrics_bytes, progress.episodes_bytes)
        self._num_episodes = progress.episodes
        checkpoints = [self.run.checkpoint(name) for name in ("last", "previous", "best")]
        for path in self.run.snapshots:
            if path > self.run.snapshot(progress.env_steps):  # the run takes another way from here, perhaps
                path.unlink()
        snapshots = self.run.path / "snapshots" / "*.safetensors"  # one that was killed may not be there yet
        for path in (self.run.path / "config.yaml", self.run.path / "run.json", *checkpoints, snapshots):
            remove_leftovers(path)
        write_atomically(self.run.path / "config.yaml", config.to_yaml().encode())
        solved = None if progress.solved_at_env_steps is None else known.solved
        again = {"resumed": [*known.resumed, now], "stop_when_solved": now.stop_when_solved, "target_return": target}
        begun = {"state": "running", "error": None, "ended": None, "ended_by": ""}
        self.record(**begun, solved=solved, began_with_env_steps=began, **again)

    def log(self, metrics: Metrics, episodes: Sequence[Episode], seconds: float) -> None:
        """Append an iteration's row, and the episodes that its rollout, over at `seconds`, finished. Raises OSError."""
        metrics_log, episodes_log = self._logs
        with naming(self.run.path):
            metrics_log.append([metrics])
            rows = logged_episodes(episodes, self._num_episodes, seconds)
            episodes_log.append(rows)
            if self._curves is not None:
                self._curves.add(metrics, rows)
        self._num_episodes += len(episodes)

    def sync(self) -> dict[str, int]:
        """Make the logs durable; return how long they are, as `Progress` knows them. Raises OSError."""
        with naming(self.run.path):
            metrics_bytes, episodes_bytes = (log.sync() for log in self._logs)
        return {"metrics_bytes": metrics_bytes, "episodes_bytes": episodes_bytes}

    def save(
        self, names: Sequence[str], config: Config, progress: Progress, versions: dict[str, str], state: State
    ) -> None:
        """Write a checkpoint under each of the `names`; what was `last` becomes `previous`. Raises OSError."""
        for name in names:
            if name == "last" and self.run.checkpoint("last").exists():
                write_atomically(self.run.checkpoint("previous"), self.run.checkpoint("last").read_bytes())
            checkpoint.save(self.run.checkpoint(name), config, progress, versions, state)

    def keep(self, config: Config, progress: Progress, versions: dict[str, str], agent: State) -> None:
        """Write what `agent` alone is, beside the config and the progress. Raises OSError."""
        path = self.run.snapshot(progress.env_steps)
        path.parent.mkdir(exist_ok=True)
        checkpoint.save(path, config, progress, versions, agent)

    def record(self, **changed: Any) -> None:
        """Write what has become of the run to `run.json`. Raises RunError, OSError."""
        write_json(self.run.path / "run.json", self.run.info.model_copy(update=changed).model_dump())

    def end(self, ended_by: End, error: Exception | None) -> None:
        """Write to `run.json` what ended training; nothing did where it was interrupted.

        A kill does not: such a run says for ever that it is running.

        Raises RunError, OSError, but not where an `error` is to be reported that may well have the same cause.
        """
        if error is None:
            state = "finished" if ended_by else "interrupted"
            self.record(state=state, error=None, ended=_now(), ended_by=ended_by)
            return
        with suppress(OSError, RunError):
            self.record(state="failed", error=one_line(str(error)), ended=_now())

    def close(self) -> None:
        """Close the logs, and let others in."""
        for log in self._logs:
            with suppress(OSError):  # what could not be written has been reported
                log.close()
        if self._curves is not None:
            with suppress(OSError, RunError):
                self._curves.close(self.run.config.leaves(), results_of(self.run.metrics()))
        if self._lock is not None:
            self._lock.release()

    def _open_logs(self, config: Config, metrics_bytes: int, episodes_bytes: int) -> None:
        info_keys = config.env.info_keys
        means = [key for key in info_keys if key != "is_success"]  # whose mean is the success_rate
        self._logs.append(Log(self.run.path / "metrics.csv", Metrics, metrics_bytes, means))
        self._logs.append(Log(self.run.path / "episodes.csv", LoggedEpisode, episodes_bytes, info_keys))
        if config.train.tensorboard:
            self._curves = Curves(self.run.path / "tensorboard")
            self._curves.begin(self.run.metrics(), self.run.episodes())

    def _claim_directory(self) -> None:
        """Make the directory, under the first name that nobody has taken: `path`, `path`-2, `path`-3 …"""
        first = self.run.path
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
            why = error.strerror
            raise RunError(f"{first}: cannot make this folder ({why}); choose another --runs-dir") from error


def machine(device: str) -> dict[str, str]:
    """Return what machine this is, and on which of its devices tensors are computed."""
    return {"platform": platform.platform(), "processor": platform.machine(), "device": device}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _git_commit() -> str | None:
    """Return the commit that this program runs from, `-dirty` with changes of its own; None where it is installed."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
