"""What an interrupted run goes on from: its newest whole checkpoint, and the config that it began with."""

from collections.abc import Sequence

from ppocli import checkpoint
from ppocli.checkpoint import Checkpoint
from ppocli.config import Config, load_config
from ppocli.errors import CheckpointError, RunError, UsageError
from ppocli.files import regular, write_atomically
from ppocli.runs import Run

MAY_CHANGE = ("train.env_steps", "train.checkpoint_interval", "env.workers")
"""What a run may be gone on with otherwise than it began: none of it changes what an iteration computes, but for the
schedules, which take the new total."""


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
    changed = [key for key in sorted(old) if old[key] != new[key] and key not in MAY_CHANGE]
    if changed:
        differences = ", ".join(f"{key}: {old[key]} → {new[key]}" for key in changed)
        raise UsageError(
            f"{run.path}: a run goes on as it began, but for {', '.join(MAY_CHANGE)}; train a new one for {differences}"
        )
    if saved is not None and config.num_iterations < saved.progress.iterations:
        raise UsageError(
            f"train.env_steps: {config.train.env_steps:,} are fewer than this run's {saved.progress.env_steps:,} so far"
        )
    return config


def stops_when_solved(run: Run, saved: Checkpoint | None, config: Config) -> bool:
    """Return whether solving the task ends the run: as it began, unless it has done so and is now to go on beyond."""
    began = run.facts.stop_when_solved
    if saved is None or saved.progress.solved_at_env_steps is None:
        return began
    return began and config.train.env_steps <= saved.config.train.env_steps


def inexactness(saved: Checkpoint) -> list[str]:
    """Return what is not as it was when the checkpoint was made, so that the last bits may come out differently."""
    now = checkpoint.versions()
    names = sorted(now.keys() | saved.versions.keys())
    return [
        f"{name} {saved.versions.get(name)} → {now.get(name)}"
        for name in names
        if saved.versions.get(name) != now.get(name)
    ]
