"""All the runs below a folder: which there are, how each stands, and which one a user means."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from ppocli.config.load import did_you_mean
from ppocli.errors import RunError
from ppocli.records.info import End, State
from ppocli.records.kept import read_evaluation
from ppocli.records.run import Run


@dataclass(frozen=True)
class RunSummary:
    """How a run stands, as its directory tells."""

    run_dir: Path
    env_id: str
    name: str | None
    seed: int
    state: State
    env_steps: int
    total_env_steps: int
    best_return: float | None  # of the greedy policy in the evaluations during training, None before the first
    solved: bool | None  # None where the task has no target
    solved_at_env_steps: int | None
    started: str  # UTC, ISO 8601
    error: str | None  # what a failed run failed of
    evaluated_return: float | None = None  # mean of the last `ppocli evaluate`, None unless it was of the best agent
    ended_by: End = ""
    begun_from: str | None = None  # the run whose agent it began with

    @property
    def shown_return(self) -> float | None:
        """What was evaluated where it was: the best of many evaluations during training is rather luck."""
        return self.best_return if self.evaluated_return is None else self.evaluated_return


def sort_summaries(
    found: Sequence[RunSummary], by: Literal["started", "env", "seed", "steps", "return"]
) -> list[RunSummary]:
    """Return runs in an order: the newest, farthest or best first, environments and seeds from their start."""
    keys: dict[str, Callable[[RunSummary], Any]] = {
        "started": lambda run: 0,
        "env": lambda run: run.env_id,
        "seed": lambda run: run.seed,
        "steps": lambda run: -run.env_steps,
        "return": lambda run: math.inf if run.shown_return is None else -run.shown_return,
    }
    newest_first = sorted(found, key=lambda run: (run.started, run.run_dir.name), reverse=True)
    return sorted(newest_first, key=keys[by])


def summarize_run(run: Run) -> RunSummary:
    """Return how a run stands. Raises RunError or UsageError for a directory that is damaged."""
    info, config, metrics, kept = run.info, run.config, run.metrics(), read_evaluation(run.evaluation)
    judged = [(row.eval_return_mean, row.env_steps) for row in metrics if row.eval_return_mean is not None]
    if info.solved and (info.stop_when_solved or "--stop-when-solved" in info.command):
        # The agent that solved was the best, whatever had come before; where the run was prolonged, a later one may be.
        at = info.solved.env_steps
        judged = [(info.solved.return_mean, at), *(one for one in judged if one[1] > at)]
    env_steps = metrics[-1].env_steps if metrics else 0
    best_return, chosen_at = max(judged, default=(None, env_steps))  # of equal ones the later, as in training
    fits = kept is not None and kept.deterministic and kept.checkpoint_env_steps == chosen_at
    return RunSummary(
        run_dir=run.path.absolute(),
        env_id=config.env.id,
        name=info.name,
        seed=config.train.seed,
        state="interrupted" if info.state == "running" and not run.is_locked else info.state,
        env_steps=env_steps,
        total_env_steps=config.total_env_steps,
        best_return=best_return,
        solved=None if info.target_return is None else info.solved is not None,
        solved_at_env_steps=info.solved.env_steps if info.solved else None,
        started=info.started,
        error=info.error,
        evaluated_return=fmean(kept.episode_returns) if kept and fits else None,
        ended_by=info.ended_by,
        begun_from=info.begun_from.name if info.begun_from else None,
    )


def all_runs(runs_dir: Path) -> list[Run]:
    """Return the training runs below a folder, the oldest first."""
    return sorted((Run(path.parent) for path in runs_dir.glob("*/*/run.json") if _is_run(path.parent)), key=_age)


def unreadable(runs_dir: Path) -> list[Path]:
    """Return the folders of runs that this user cannot enter, whatever runs are in them."""
    folders = (path for depth in ("*", "*/*") for path in runs_dir.glob(depth) if os.path.isdir(path))  # noqa: PTH112 - no error where it may not be asked
    return [path for path in folders if not os.access(path, os.R_OK | os.X_OK)]


def run_names(runs_dir: Path) -> list[str]:
    """Return each name that a run may be called by: its directory's, alone and with its environment's before it."""
    return [name for run in all_runs(runs_dir) for name in (run.path.name, _full_name(run))]


def find_run(target: str, runs_dir: Path) -> Run:
    """Return the training run that `RUN` means. Raises RunError.

    It is a directory, `latest`, or the beginning of just one run's name, with or without its environment's before it.
    """
    path = Path(target)
    if not target:
        raise RunError("RUN is empty; it is a run directory, the beginning of a run's name, or `latest`")
    if target == "latest":
        if runs := all_runs(runs_dir):
            return runs[-1]
        where = runs_dir.absolute()
        raise RunError(f"latest: no training run under {where}; train one, or name the folder with --runs-dir")
    if path.is_file() and path.suffix == ".safetensors":
        path = path.absolute().parent
    if path.is_dir():
        home = path.parent if path.name == "checkpoints" else path
        if not _is_run(home):
            raise RunError(f"{path}: no training run; RUN is a directory that `ppocli train` made, or `latest`")
        return Run(home)
    return _run_that_begins(target, runs_dir)


def find_runs(targets: Sequence[str], runs_dir: Path) -> list[Run]:
    """Return the runs that `RUN...` means, each once, without what ppocli puts beside them. Raises RunError."""
    meant = [target for target in targets if not _lies_beside_runs(Path(target))]
    runs = [find_run(target, runs_dir) for target in meant or targets]
    return list({run.path.resolve(): run for run in runs}.values())


def find_checkpoint(target: str, runs_dir: Path) -> tuple[Path, Run | None]:
    """Return the checkpoint that `RUN|CHECKPOINT` means, of a run its chosen one, and its run. Raises RunError."""
    path = Path(target)
    if not path.is_file():
        run = find_run(target, runs_dir)
        return run.chosen_checkpoint(), run
    path = path.absolute()  # wherever what is imported next goes
    home = path.parent.parent
    return path, Run(home) if (home / "run.json").is_file() else None


def common_folder(runs: Sequence[Run]) -> Path:
    """Return the innermost folder that holds all of some runs."""
    return Path(os.path.commonpath([run.path.absolute().parent for run in runs]))


def _run_that_begins(target: str, runs_dir: Path) -> Run:
    runs = all_runs(runs_dir)
    found = [run for run in runs if target in (_full_name(run), run.path.name)]  # seed1, and not seed10
    found = found or [run for run in runs if _full_name(run).startswith(target)]
    found = found or [run for run in runs if run.path.name.startswith(target)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(map(_full_name, found[-3:]))
        raise RunError(f"{target}: {len(found)} runs begin so, among them {names}; write more of its name")
    meant = did_you_mean(target, ["latest", *run_names(runs_dir)])
    raise RunError(
        f"{target}: no such run or checkpoint{meant or ';'} RUN is a run directory, the beginning of a run's name "
        f"under {runs_dir}, `latest`, or a .safetensors file"
    )


def _full_name(run: Run) -> str:
    return f"{run.path.parent.name}/{run.path.name}"


def _lies_beside_runs(path: Path) -> bool:
    return path.name in {"plots", "random-baseline", "report.html"} and path.exists() and not _is_run(path)


def _is_run(path: Path) -> bool:
    checkpoints = path / "checkpoints"
    return checkpoints.is_dir() and not checkpoints.is_symlink()


def _age(run: Run) -> tuple[str, str]:
    try:
        return run.info.started, run.path.name
    except RunError:
        return "", run.path.name
