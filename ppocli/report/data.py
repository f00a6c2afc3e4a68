"""What is known of the runs that a report is about."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from ppocli.errors import CheckpointError, NonFiniteError, RunError, one_line
from ppocli.evaluation.curves import Group, groups
from ppocli.evaluation.results import evaluation_of
from ppocli.records.catalog import RunSummary, summarize_run
from ppocli.records.info import RunInfo
from ppocli.records.kept import Evaluation
from ppocli.records.logs import LoggedEpisode, Metrics
from ppocli.records.run import Run
from ppocli.views import text


@dataclass(frozen=True)
class RunData:
    """A run with all that its directory tells."""

    run: Run
    label: str  # what tells it from the other runs of its environment
    info: RunInfo
    summary: RunSummary
    metrics: list[Metrics]
    episodes: list[LoggedEpisode]
    evaluation: Evaluation | None
    no_evaluation: str  # why there is none

    @property
    def name(self) -> str:
        """Its directory, with its environment's before it."""
        return one_line(f"{self.run.path.parent.name}/{self.run.path.name}")

    @property
    def returns(self) -> list[float]:
        """Of the evaluated episodes; none where there is no evaluation."""
        return self.evaluation.episode_returns if self.evaluation else []


@dataclass(frozen=True)
class GroupData:
    """Runs of one config, but for the seed."""

    group: Group
    runs: list[RunData]

    @property
    def algorithm(self) -> str:
        """What its agents learned by."""
        return self.runs[0].run.config.algorithm.upper()

    @property
    def means(self) -> list[float]:
        """The mean return of each evaluated agent."""
        return [float(np.mean(run.returns)) for run in self.runs if run.returns]

    @property
    def random_mean(self) -> float:
        """The random policy's mean return on the episodes of the evaluations, of which there is one at least."""
        return float(np.mean([np.mean(run.evaluation.random_episode_returns) for run in self.runs if run.evaluation]))

    @property
    def seeds(self) -> str:
        """Which seeds they began from."""
        seeds = [str(run.summary.seed) for run in self.runs]
        return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(seeds)}"


@dataclass(frozen=True)
class EnvironmentData:
    """All that was trained on one environment."""

    env_id: str
    groups: list[GroupData]

    @property
    def runs(self) -> list[RunData]:
        """The runs of all its groups."""
        return [run for group in self.groups for run in group.runs]

    @property
    def targets(self) -> list[float]:
        """The mean returns that count as solved, more than one where configs say otherwise."""
        return list(dict.fromkeys(group.group.target for group in self.groups if group.group.target is not None))

    @property
    def random_returns(self) -> dict[str, list[float]]:
        """The returns of the random policy, under its name.

        There are several where the runs were evaluated on different episodes, or the environment's arguments differ.
        """
        found: dict[tuple[float, ...], str] = {}
        for run in self.runs:
            if run.evaluation:
                found.setdefault(tuple(run.evaluation.random_episode_returns), run.label)
        alone = len(found) == 1
        return {"random policy" if alone else f"random, {label}": list(returns) for returns, label in found.items()}


def gather(runs: Sequence[Run]) -> list[EnvironmentData]:
    """Return what is known of runs, in their order; agents that have not been evaluated yet are.

    Raises UsageError, RunError, CheckpointError for what cannot be read, and OSError.
    """
    environments = []
    for env_id, found in groupby(groups(runs), key=lambda group: group.env_id):
        members = list(found)
        labels = _labels(members)
        data = [GroupData(group, [_run_data(run, labels[run.path]) for run in group.runs]) for group in members]
        environments.append(EnvironmentData(env_id, data))
    return environments


def _labels(members: Sequence[Group]) -> dict[Path, str]:
    """Return for each run of an environment its seed, and where that is not enough its config, then its directory."""
    labels: dict[Path, str] = {}
    for group in members:
        config = f" ({group.label})" if group.label else ""
        labels |= {run.path: f"seed {run.config.train.seed}{config}" for run in group.runs}
    count = Counter(labels.values())
    return {path: f"{label}, {one_line(path.name)}" if count[label] > 1 else label for path, label in labels.items()}


def _run_data(run: Run, label: str) -> RunData:
    return RunData(run, label, run.info, summarize_run(run), run.metrics(), run.episodes(), *_evaluation(run))


def _evaluation(run: Run) -> tuple[Evaluation | None, str]:
    """Return the evaluation of a run's agent, or None and why there is none."""
    try:
        run.chosen_checkpoint()
    except RunError:
        return None, "it has no checkpoint yet"
    try:
        found = evaluation_of(run)
    except (NonFiniteError, CheckpointError) as error:  # numbers of the environment, or a file of another run
        return None, text.without_folders(str(error))
    plausible = all(0 <= seed < 2**63 for seed in found.episode_seeds) and found.random_episode_returns
    if not plausible or len(found.episode_seeds) != len(found.episode_returns):
        raise RunError(f"{run.evaluation}: not what ppocli wrote; ppocli evaluate writes it anew")
    return found, ""
