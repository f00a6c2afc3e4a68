"""What a training command has to say at its end: how far it came, how well it went, and where the time went."""

from typing import TYPE_CHECKING, Any

from ppocli.config import Config
from ppocli.logs import PhaseSeconds
from ppocli.runs import Run

if TYPE_CHECKING:
    from ppocli.checkpoint import Progress
    from ppocli.train import Report


class Outcome:
    """Follows a training run and sums it up; `progress` is where the command begins."""

    def __init__(self, config: Config, run: Run, progress: "Progress") -> None:
        self._config = config
        self._run = run
        self._progress = progress
        self._began_at = progress.env_steps
        self._phases = PhaseSeconds(progress.seconds)

    def add(self, report: "Report") -> None:
        """Count an iteration."""
        self._progress = report.progress
        self._phases.add(report.metrics)

    def result(self, wall_seconds: float, *, interrupted: bool) -> dict[str, Any]:
        """Return what `train --json` prints. Raises RunError where there is no checkpoint."""
        progress = self._progress
        return {
            "run_dir": str(self._run.path.absolute()),
            "env_id": self._config.env.id,
            "seed": self._config.train.seed,
            "env_steps": progress.env_steps,
            "resumed_at_env_steps": self._began_at or None,
            "iterations": progress.iterations,
            "wall_seconds": wall_seconds,
            "seconds": self._phases.shares(wall_seconds),
            "env_steps_per_second": progress.env_steps / (progress.seconds or wall_seconds),
            "solved": progress.solved_at_env_steps is not None,
            "solved_at_env_steps": progress.solved_at_env_steps,
            "solved_at_seconds": progress.solved_at_seconds,
            "best_return": progress.best_return,
            "checkpoint": str(self._run.chosen_checkpoint().absolute()),
            "interrupted": interrupted,
        }
