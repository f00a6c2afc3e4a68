"""A run's directory: where it lies, and what is in it."""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from ppocli.config.load import load_stored_config
from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.errors import RunError, UsageError
from ppocli.files import regular
from ppocli.guests import IMPORTED
from ppocli.records.info import RunInfo
from ppocli.records.logs import LoggedEpisode, Metrics, read_log

_BASELINE = "random-baseline"


class Run:
    """A training run's directory, for those who read it; a `RunWriter` writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # wherever an environment goes

    @property
    def evaluation(self) -> Path:
        """The file with the last evaluation's result; one of its own where the task's code is no longer the same."""
        return self.evaluation_in(None)

    def evaluation_in(self, task: EnvConfig | None) -> Path:
        """Return the file of evaluations in a task; one of its own where that is not the run's."""
        parts = [self.info.code_now if IMPORTED and self.exists else ""]
        if task is not None and task.task != self.config.evaluated_in.task:
            # By what may be another, as its names go back to earlier versions.
            asked = json.dumps([task.kwargs, task.max_episode_steps], sort_keys=True)
            parts.append(hashlib.sha256(asked.encode()).hexdigest()[:8])
        return self.path / ("-".join(["evaluation", *filter(None, parts)]) + ".json")

    @property
    def baseline(self) -> Path:
        """The folder of its environment's random baseline."""
        return self.path.absolute().parent / _BASELINE

    def checkpoint(self, name: str) -> Path:
        """Return the file of the checkpoint `last`, `previous` or `best`."""
        return self.path / "checkpoints" / f"{name}.safetensors"

    def chosen_checkpoint(self) -> Path:
        """Return the checkpoint that it stands for: the best, or the last while none is best yet. Raises RunError."""
        for name in ("best", "last", "previous"):
            if self.checkpoint(name).is_file():
                return self.checkpoint(name)
        raise RunError(f"{self.path}: no checkpoint in it; RUN is a directory that `ppocli train` made, or `latest`")

    def snapshot(self, env_steps: int) -> Path:
        """Return the file of the agent as it was after so many env steps."""
        return self.path / "snapshots" / f"{env_steps:012d}.safetensors"

    @property
    def snapshots(self) -> list[Path]:
        """The agents that were kept over training, in its order."""
        return sorted((self.path / "snapshots").glob("*.safetensors"))

    @property
    def exists(self) -> bool:
        """Whether it has been created, now or by another process before."""
        return (self.path / "run.json").is_file()

    @property
    def is_locked(self) -> bool:
        """Whether a trainer is at work in it, here or in another process."""
        try:
            with FileLock(self.path / ".lock", blocking=False):
                return False
        except Timeout:
            return True
        except OSError:  # a directory that this user cannot write to
            return False

    @property
    def info(self) -> RunInfo:
        """What `run.json` says. Raises RunError."""
        path = self.path / "run.json"
        try:
            return RunInfo.model_validate_json(regular(path).read_bytes())
        except OSError as error:
            raise RunError(f"{path}: cannot read it: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RunError(f"{path}: cannot read it: {place}{': ' if place else ''}{first['msg']}") from error

    @property
    def config(self) -> Config:
        """What `config.yaml` says, read anew each time. Raises UsageError, RunError where it is no file."""
        return self.config_with(())

    def config_with(self, overrides: Sequence[str]) -> Config:
        """Return what `config.yaml` says, changed as `--set` would. Raises UsageError, RunError where it is no file."""
        return load_stored_config(regular(self.path / "config.yaml"), overrides)

    @property
    def first_config(self) -> Config:
        """The config that it began with, before it was prolonged. Raises what `config` and `info` raise."""
        return self.config_with([f"train.env_steps={began}"] if (began := self.info.began_with_env_steps) else [])

    def metrics(self) -> list[Metrics]:
        """Return the rows of `metrics.csv`. Raises RunError."""
        return read_log(self.path / "metrics.csv", Metrics)

    def episodes(self) -> list[LoggedEpisode]:
        """Return the rows of `episodes.csv`. Raises RunError."""
        return read_log(self.path / "episodes.csv", LoggedEpisode)


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
    return environment_folder(runs_dir, env_id) / _BASELINE
