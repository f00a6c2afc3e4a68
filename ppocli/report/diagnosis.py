"""The health of the training, in plain words."""

from collections.abc import Sequence
from contextlib import closing

from ppocli import health
from ppocli.envs.api import Continuous
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.errors import PpocliError
from ppocli.report import written
from ppocli.report.data import EnvironmentData, RunData
from ppocli.runs import Run


def diagnoses(environment: EnvironmentData) -> list[tuple[str, list[str]]]:
    """Return what is to be said of the training of which runs; runs of which the same is to be said stand together."""
    found: dict[tuple[str, ...], list[str]] = {}
    for run in environment.runs:
        found.setdefault(tuple(_diagnosis(run)), []).append(run.label)
    if len(found) == 1 and len(environment.runs) > 1:
        return [(f"all {len(environment.runs)} runs", list(texts)) for texts in found]
    return [(written.listed(who), list(texts)) for texts, who in found.items()]


def _diagnosis(run: RunData) -> list[str]:
    """Look at every iteration of a run as the dashboard does while it trains."""
    looked_at = len(run.metrics) - health.FIRST_ITERATION + 1
    if looked_at < 1:
        return [f"too short to judge, which takes {health.FIRST_ITERATION} iterations."]
    initial_entropy = run.metrics[0].entropy if _acts_discretely(run.run) else None
    seen: dict[str, list[tuple[int, health.Finding]]] = {}
    for end in range(health.FIRST_ITERATION, len(run.metrics) + 1):
        window, target = run.metrics[end - health.WINDOW : end], run.facts.target_return
        for finding in health.findings(window, initial_entropy=initial_entropy, target=target):
            seen.setdefault(finding.metric, []).append((window[-1].env_steps, finding))
    texts = [_finding_text(found, looked_at, run.metrics[-1].env_steps) for found in seen.values()]
    return texts or [f"nothing unusual in {len(run.metrics):,} iterations."]


def _finding_text(found: Sequence[tuple[int, health.Finding]], looked_at: int, end: int) -> str:
    """Say what was found, as it was when it was last found, and when that was."""
    (first, _), (last, finding) = found[0], found[-1]
    until = "still so at the end" if last == end else f"no more after {written.count(last)}"
    when = f"So in {len(found):,} of {looked_at:,} iterations, first at {written.count(first)} env steps, {until}."
    return f"{finding.explanation} {when}"


def _acts_discretely(run: Run) -> bool:
    """Whether its actions are choices; False where the environment cannot be made here."""
    try:
        with closing(GymnasiumVectorEnv(run.config.env, 1)) as envs:
            return not isinstance(envs.action_spec, Continuous)
    except PpocliError:
        return False
