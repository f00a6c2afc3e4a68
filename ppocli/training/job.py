"""A training that is to be done. Knows no torch, so that its environments can start while torch is imported."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from ppocli.config.models import KEYS, Config
from ppocli.records.checkpoint import Checkpoint, Progress
from ppocli.records.info import Ancestor, Command, End
from ppocli.records.run import Run, new_run
from ppocli.records.writer import RunWriter


@dataclass(frozen=True)
class Origin:
    """What a new run begins with instead of knowing nothing."""

    saved: Checkpoint
    keeps_optimizer: bool = False

    @property
    def ancestor(self) -> Ancestor:
        """What the new run's `run.json` says of it."""
        saved = self.saved
        settings = {name: value for name, value in saved.config.leaves().items() if not KEYS[name].same_experiment}
        return Ancestor(
            checkpoint=str(saved.path.absolute()),
            digest=saved.digest,
            env_steps=saved.progress.env_steps,
            experiment=hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12],
            keeps_optimizer=self.keeps_optimizer,
        )


@dataclass(frozen=True)
class Job:
    """A training that is to be done: a config, and where what comes of it is written."""

    config: Config
    writer: RunWriter  # of a run that does not exist yet; or, locked, of the one that is resumed
    name: str | None = None
    stop_when_solved: bool = False
    command: Command = field(default_factory=Command)  # who asked for it
    resumes: bool = False  # whether the run exists already
    saved: Checkpoint | None = None  # what a resumed run is continued from; without one it begins again
    origin: Origin | None = None  # what a new run begins with
    workers: int | None = None  # processes to share environments with, where other jobs are done beside this one
    allow_inexact: bool = False  # whether environments may begin new episodes where the old ones cannot be continued

    @property
    def run(self) -> Run:
        """The run's directory."""
        return self.writer.run

    @property
    def progress(self) -> Progress:
        """How far it has come already."""
        return self.saved.progress if self.saved else Progress()

    def is_finished(self, progress: Progress) -> bool:
        """Whether nothing is left to train after so much progress."""
        return bool(self.ended_by(progress))

    def ended_by(self, progress: Progress) -> End:
        """Return what ends training after so much progress, nothing where it goes on."""
        settings = self.config.train
        if self.stop_when_solved and progress.solved_at_env_steps is not None:
            return "solved"
        if progress.iterations >= self.config.num_iterations:
            return "env_steps"
        if settings.patience is not None and progress.evaluations_without_better >= settings.patience:
            return "patience"
        if settings.max_seconds is not None and progress.seconds >= settings.max_seconds:
            return "max_seconds"
        return ""

    @property
    def played_in(self) -> Config:
        """Its config as its environments are made: with the workers that it has, not those that were asked for."""
        return self.config if self.workers is None else self.config.changed("env", workers=self.workers)


def new_job(
    config: Config,
    command: Command,
    runs_dir: Path,
    name: str | None,
    *,
    stop_when_solved: bool,
    workers: int | None = None,
) -> Job:
    """Return the job of training a run that does not exist yet. Raises UsageError for a name that it cannot have."""
    return Job(config, RunWriter(new_run(runs_dir, config, name)), name, stop_when_solved, command, workers=workers)
