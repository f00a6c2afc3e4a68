"""Is an environment right to train in? Everything that is asked of it, one after the other, and what comes of it."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import fmean, pstdev
from typing import get_args

import numpy as np

from ppocli.config.models import Config
from ppocli.envs.checks import gymnasium, shown, tried
from ppocli.envs.checks.trial import Budget, Finding, Level, Trial
from ppocli.envs.make import refuse_foreign_paths
from ppocli.errors import PpocliError, PpocliWarning, UsageError, one_line
from ppocli.guests import FAILURES, blame, told
from ppocli.signals import TimeIsUp

_MANY_LINES = 20  # more are not a mere greeting


def prints(trial: Trial) -> Iterator[Finding]:
    """Does it print?"""
    if lines := trial.printed().splitlines():
        message = f"it has printed {len(lines):,} lines, such as {one_line(lines[0])[:60]!r}"
        advice = "print only if asked to: it takes time, and ppocli sends it to stderr"
        yield Finding("warning" if len(lines) > _MANY_LINES else "hint", "prints", message, advice)


QUESTIONS: list[Callable[[Trial], Iterator[Finding]]] = [
    tried.made,
    tried.spaces,
    tried.plays,  # before all that look at what it has shown
    tried.leaves,
    gymnasium.follows,
    shown.limit,
    shown.rewards,
    shown.observations,
    shown.infos,
    tried.masked,
    tried.reproducible,
    tried.copies,
    tried.memory,
    gymnasium.drawn,
    tried.stepping,
    tried.together,
    prints,
]


@dataclass(frozen=True)
class Report:
    """What is found about an environment."""

    env_id: str
    findings: list[Finding]  # the gravest first
    random_policy: dict[str, float]  # how chance did: episodes, return_mean, return_std, length_mean
    env_steps_per_second: dict[str, float]  # in one_process, with_workers, vectorised: what of these could be measured
    workers: int  # processes beside the main one, in the latter
    config: Config  # to start from

    @property
    def is_fit(self) -> bool:
        """Whether training would neither fail nor learn the wrong thing."""
        return all(finding.level != "error" for finding in self.findings)


def check(config: Config, budget: Budget | None = None, printed: Callable[[], str] = str) -> Report:
    """Try an environment out; `printed` returns what has been printed meanwhile.

    Raises UsageError for an environment that is not known, or does not take its arguments.
    """
    refuse_foreign_paths(config.env)
    trial, found = Trial(config, budget or Budget(), printed), dict[tuple[str, str], Finding]()
    for question in QUESTIONS:
        if not trial.over or question is prints:
            for finding in _answers(question, trial):
                message = finding.message.removeprefix(config.env.id).removeprefix(":").lstrip()
                found.setdefault((message, finding.advice), replace(finding, message=one_line(message)))
    findings = sorted(found.values(), key=lambda finding: get_args(Level).index(finding.level))
    for finding in findings:
        for key, value in finding.settings.items():
            section, _, name = key.partition(".")
            config = config.changed(section, **{name: value})
    return Report(config.env.id, findings, _random_policy(trial), trial.env_steps_per_second, trial.workers, config)


def _random_policy(trial: Trial) -> dict[str, float]:
    episodes = trial.played.episodes if trial.played else []
    if not episodes:
        return {}
    returns = [episode.episode_return for episode in episodes]
    length = fmean(episode.episode_length for episode in episodes)
    spread = {"return_mean": fmean(returns), "return_std": pstdev(returns)}
    return {"episodes": len(episodes), **spread, "length_mean": length}


def _answers(question: Callable[[Trial], Iterator[Finding]], trial: Trial) -> list[Finding]:
    """Return what a question finds; where it comes to no end of its own, that, too."""
    name, found = question.__name__, list[Finding]()
    with warnings.catch_warnings(record=True) as given, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            for finding in question(trial):
                found.append(finding)  # one by one, as an error may come after
        except PpocliError as error:
            if isinstance(error, UsageError) and not trial.failed:
                raise
            trial.over |= name == "made"
            if not trial.failed:
                found.append(Finding("error", name, str(error), "mend what raises it"))
        except TimeIsUp:
            trial.over |= name in ("made", "plays")
            message = f"{trial.budget.patience:g} s were not enough to know: {(question.__doc__ or name).strip()}"
            found.append(Finding("error", name, message, "look for what never ends, or takes so long"))
        except FAILURES as error:
            if not told(error)[1]:  # a mistake of ours
                raise
            found.append(Finding("error", name, str(blame(error, trial.config.env.id, "when checked")), "mend it"))
    for warning in given:
        if issubclass(warning.category, PpocliWarning):
            closing = "close" in str(warning.message)
            advice = "mend close()" if closing else "show numbers that say as much"
            found.append(Finding("warning", "close" if closing else name, str(warning.message), advice))
    return found
