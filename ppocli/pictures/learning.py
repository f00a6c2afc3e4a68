"""A run's learning as a film: the same start, by its agent at several stages of its training."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from ppocli.envs.episodes import Episode
from ppocli.envs.make import drawn_envs
from ppocli.errors import RunError, UsageError
from ppocli.evaluation.agents import load_agent
from ppocli.evaluation.play import greedy
from ppocli.pictures.films import Scene, record_beside
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Checkpoint
from ppocli.records.run import Run
from ppocli.seeds import Purpose, evaluation_seeds


@dataclass(frozen=True)
class Stage:
    """A run's agent as it was at some time."""

    name: str
    saved: Checkpoint

    @property
    def env_steps(self) -> int:
        """How much it had learned from."""
        return self.saved.progress.env_steps


def stages(run: Run) -> list[Stage]:
    """Return the agents that a run has kept, and its best as the last. Raises RunError where it has kept none.

    Raises UsageError where they cannot be watched side by side.
    """
    if run.config.env.single_instance:
        folder = run.checkpoint("best").parent
        raise UsageError(
            f"env.single_instance: no two stages are played side by side; render those in {folder} one by one"
        )
    kept = [saved for path in run.snapshots if (saved := checkpoint.load(path)).is_of(run.config)]
    if not kept:
        raise RunError(f"{run.path}: no snapshots in it: it is of an earlier version, or train.snapshots left it none")
    best = checkpoint.load(run.chosen_checkpoint())
    return [*(Stage(_name(saved, run), saved) for saved in kept), Stage(f"its best: {_learned_from(best)}", best)]


def _name(saved: Checkpoint, run: Run) -> str:
    done = saved.progress.env_steps
    if not done:
        return "untrained" if run.info.begun_from is None else "as it began"
    return f"after {done / run.config.total_env_steps:.0%}: {_learned_from(saved)}"


def _learned_from(saved: Checkpoint) -> str:
    return f"{saved.progress.env_steps:,} env steps"


def film(shown: Sequence[Stage], seed: int, output: Path) -> list[Episode]:
    """Let the agents of a run play the same episode greedily, side by side; return what each made of it.

    `seed` chooses the episode as `ppocli render` does. Raises what `record` raises, CheckpointError.
    """
    with ExitStack() as made:
        scenes = []
        for stage in shown:
            envs = made.enter_context(closing(drawn_envs(stage.saved.config.evaluated_in, "rgb_array")))
            scenes.append(Scene(stage.name, envs, greedy(load_agent(stage.saved, envs))))
        record_beside(scenes, evaluation_seeds(seed, Purpose.EVALUATION, 1)[0], output)
    return [scene.episodes[0] for scene in scenes]
