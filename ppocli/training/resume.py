"""What an interrupted run is continued from: its newest whole checkpoint, and the config that it began with."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from ppocli.config.models import KEYS, Config
from ppocli.config.values import value_at
from ppocli.errors import CheckpointError, RunError, UsageError
from ppocli.files import write_atomically
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Checkpoint
from ppocli.records.info import Command
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.training.job import Job


def resume_job(run: Run, command: Command, *, allow_inexact: bool = False) -> Job:
    """Return what is left to train of a run, which is now locked. Raises CheckpointError, RunError, UsageError."""
    writer = RunWriter(run)
    writer.lock()
    saved = newest_checkpoint(run)
    if saved is None and run.exists and run.info.begun_from is not None:
        raise RunError(
            f"{run.path}: it ended before its first checkpoint; train it anew, from the run that it began with"
        )
    config = resumed_config(run, saved, command.overrides)
    ends = stops_when_solved(run, saved, config)
    return Job(config, writer, None, ends, command, resumes=True, saved=saved, allow_inexact=allow_inexact)


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
    if broken and not found:
        raise broken[0]
    newest = max(found, key=lambda saved: saved.progress.iterations, default=None)
    if newest is not None and newest.path != run.checkpoint("last"):
        write_atomically(run.checkpoint("last"), newest.path.read_bytes())
    return newest


def resumed_config(run: Run, saved: Checkpoint | None, overrides: Sequence[str]) -> Config:
    """Return the config to continue with: the run's own `config.yaml`, and `--set`.

    Raises UsageError where it is not the one that the run began with, or ends before now; RunError for what is no run.
    """
    if not run.exists:
        raise RunError(f"{run.path}: not a training run, or one that ended before it began; train it anew")
    config = run.config_with(overrides)
    began = run.config if saved is None else saved.config
    old, new = began.leaves(), config.leaves()
    changed = [key for key in sorted(old) if old[key] != new[key] and not KEYS[key].may_change]
    if changed:
        changes = ", ".join(f"{key}: {old[key]} → {new[key]}" for key in changed)
        free = ", ".join(name for name, key in KEYS.items() if key.may_change)
        raise UsageError(f"{run.path}: a run continues as it began, but for {free}; train a new one for {changes}")
    if saved is not None and config.num_iterations < saved.progress.iterations:
        asked, done = config.train.env_steps, saved.progress.env_steps
        raise UsageError(f"train.env_steps: {asked:,} are fewer than this run's {done:,} so far")
    return config


def moved_schedules(saved: Checkpoint, config: Config) -> list[str]:
    """Return which values jump, and whereto, as what is left to train moves the end of their schedules."""
    found, iteration = [], saved.progress.iterations
    for name in ("update.learning_rate", "update.ent_coef", "ppo.clip_coef"):
        schedule: Any = reduce(getattr, name.split("."), config)
        then, now = (value_at(schedule, one.schedule_share(iteration)) for one in (saved.config, config))
        if then != now:
            found.append(f"{name} from {then:.3g} to {now:.3g}")
    return found


def stops_when_solved(run: Run, saved: Checkpoint | None, config: Config) -> bool:
    """Return whether solving the task ends the run: as it began, unless it has done so and is now prolonged."""
    began = run.info.stop_when_solved
    if saved is None or saved.progress.solved_at_env_steps is None:
        return began
    return began and config.train.env_steps <= saved.config.train.env_steps
