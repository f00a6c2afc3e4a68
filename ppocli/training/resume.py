"""What an interrupted run is continued from: its newest whole checkpoint, and the config that it began with."""

from collections.abc import Sequence

from ppocli.config.load import load_config
from ppocli.config.models import KEYS, Config
from ppocli.errors import CheckpointError, RunError, UsageError
from ppocli.files import regular, write_atomically
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Checkpoint
from ppocli.records.info import Command
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.training.job import Job, Resumption


def resume_job(run: Run, command: Command, *, allow_inexact: bool = False) -> Job:
    """Return what is left to train of a run, which is locked from now on.

    Raises CheckpointError, RunError, and UsageError where the command asks for what it cannot have.
    """
    writer = RunWriter(run)
    writer.lock()
    saved = newest_checkpoint(run)
    config = resumed_config(run, saved, command.overrides)
    return Job(
        config,
        writer,
        stop_when_solved=stops_when_solved(run, saved, config),
        command=command,
        resumption=Resumption(saved, allow_inexact),
    )


def newest_checkpoint(run: Run) -> Checkpoint | None:
    """Return the newest of `last` and `previous` that is whole, None when the run has none yet.

    When that is `previous`, it becomes `last`, too: the next save must not push a broken file into its place. Raises
    CheckpointError when the run has checkpoints, and none is whole.
    """
    found, broken = [], []
    for path in (run.checkpoint("last"), run.checkpoint("previous")):
        if path.exists():
            try:
                found.append(checkpoint.load(path))
            except CheckpointError as error:
                broken.append(error)
    if not found:
        if broken:
            raise broken[0]
        return None
    newest = max(found, key=lambda saved: saved.progress.iterations)
    if newest.path != run.checkpoint("last"):
        write_atomically(run.checkpoint("last"), newest.path.read_bytes())
    return newest


def resumed_config(run: Run, saved: Checkpoint | None, overrides: Sequence[str]) -> Config:
    """Return the config to go on with: the run's own `config.yaml`, and `--set`.

    Raises UsageError, with the difference, where it is not the one that the run began with, or asks for fewer env steps
    than it has behind it; RunError for what is no run.
    """
    if not run.exists:
        raise RunError(f"{run.path}: not a training run, or one that ended before it began; train it anew")
    config = load_config(str(regular(run.path / "config.yaml")), overrides)
    began = run.config if saved is None else saved.config
    old, new = began.leaves(), config.leaves()
    changed = [key for key in sorted(old) if old[key] != new[key] and not KEYS[key].may_change]
    if changed:
        differences = ", ".join(f"{key}: {old[key]} → {new[key]}" for key in changed)
        may_change = ", ".join(name for name, key in KEYS.items() if key.may_change)
        raise UsageError(
            f"{run.path}: a run goes on as it began, but for {may_change}; train a new one for {differences}"
        )
    if saved is not None and config.num_iterations < saved.progress.iterations:
        raise UsageError(
            f"train.env_steps: {config.train.env_steps:,} are fewer than this run's {saved.progress.env_steps:,} so far"
        )
    return config


def stops_when_solved(run: Run, saved: Checkpoint | None, config: Config) -> bool:
    """Return whether solving the task ends the run: as it began, unless it has done so and is now to go on beyond."""
    began = run.info.stop_when_solved
    if saved is None or saved.progress.solved_at_env_steps is None:
        return began
    return began and config.train.env_steps <= saved.config.train.env_steps
