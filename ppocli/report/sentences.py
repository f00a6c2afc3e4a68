"""What a report says in sentences: what was trained, how well it does, what has not ended, how healthy it looks."""

from collections.abc import Iterator, Sequence

import numpy as np

from ppocli.envs.api import ActionSpec
from ppocli.envs.make import action_spec_of
from ppocli.errors import PpocliError
from ppocli.evaluation import health
from ppocli.evaluation.comparison import difference
from ppocli.evaluation.estimates import t_interval
from ppocli.records.catalog import RunSummary
from ppocli.records.info import EARLY
from ppocli.records.run import Run
from ppocli.report.data import EnvironmentData, GroupData, RunData
from ppocli.views import text
from ppocli.views.comparison import verdict


def title(environments: Sequence[EnvironmentData]) -> str:
    """Return what the page is about."""
    names = [environment.env_id for environment in environments]
    algorithms = dict.fromkeys(group.algorithm for environment in environments for group in environment.groups)
    return (
        f"{text.listed(list(algorithms))} on {text.listed(names) if len(names) <= 3 else f'{len(names)} environments'}"
    )


def result_sentence(data: GroupData) -> str:
    """Return in a sentence what was trained and how well it does."""
    config = f"With {data.group.label}, " if data.group.label else ""
    verb = "learned" if any(run.info.solved for run in data.runs) else "trained on"
    words = f"{config}{data.algorithm} {verb} {data.group.env_id} {_origin(data)}"
    if not data.means:
        reasons = text.listed(list(dict.fromkeys(run.no_evaluation for run in data.runs)))
        return f"{words}; no agent has been evaluated: {reasons}."
    return f"{words}: {_evaluation_words(data)}; {_solved_words(data)}."


def verdicts(environment: EnvironmentData) -> list[str]:
    """Return for each config but the first whether its agents are better than those of the first, and how sure that is.

    Of configs of which agents have been evaluated; nothing where there is one alone.
    """
    scored = [
        (data, {run.summary.seed: float(np.mean(run.returns)) for run in data.runs if run.returns})
        for data in environment.groups
        if data.means
    ]
    if len(scored) < 2:
        return []
    (first, base), *others = scored
    digits = 1 if max(abs(float(np.mean(data.means))) for data, _ in scored) >= 10 else 3
    sentences = (
        verdict(_called(first), _called(data), difference(base, own), (len(base), len(own)), digits)
        for data, own in others
    )
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences]


def _called(data: GroupData) -> str:
    return f"“{data.group.label or data.algorithm}”"


def _origin(data: GroupData) -> str:
    if len(data.runs) == 1:
        return f"from {data.seeds}"
    seeds = {run.summary.seed for run in data.runs}
    return f"from {len(seeds)} seeds" if len(seeds) == len(data.runs) else f"in {len(data.runs)} runs"


def _evaluation_words(data: GroupData) -> str:
    episodes = f"over {text.span((len(run.returns) for run in data.runs if run.returns), text.count)} unseen episodes"
    means, random = data.means, f"the random policy’s {text.number(data.random_mean)}"
    average = text.number(float(np.mean(means)))
    if len(data.runs) == 1:
        spread = text.number(float(np.std(data.runs[0].returns)))
        return f"{episodes} the greedy agent’s mean return is {average} (standard deviation {spread}), {random}"
    notes = [f"95 % t interval over seeds {text.interval(t_interval(np.array(means)))}"] if len(means) > 1 else []
    if len(means) < len(data.runs):
        notes.append(f"{len(means)} of {len(data.runs)} evaluated")
    return f"{episodes} each, the greedy agents’ mean return is {average} ({', '.join(notes)}), {random}"


def _solved_words(data: GroupData) -> str:
    target, num_runs = data.group.target, len(data.runs)
    if target is None:
        return "the task names no return that counts as solved"
    solved = [run.info.solved for run in data.runs if run.info.solved]
    task = f"solved the task (mean return ≥ {text.plain(target)})"
    if not solved:
        nobody = {1: "it has not", 2: "neither has"}.get(num_runs, "none has")
        return f"{nobody} {task}"
    everyone = {1: "it", 2: "both"}.get(num_runs, f"all {num_runs}")
    who = everyone if len(solved) == num_runs else f"{len(solved)} of {num_runs}"
    steps = text.span((one.env_steps for one in solved), text.count)
    seconds = text.span((one.seconds for one in solved), text.duration)
    others = [run.summary.env_steps for run in data.runs if not run.info.solved]
    rest = f", the other{'s' if others[1:] else ''} not in {text.span(others, text.count)}" if others else ""
    return f"{who} {task}, after {steps} env steps ({seconds} of training){rest}"


def standing_sentences(environment: EnvironmentData) -> list[str]:
    """Return sentences for each run that has not come to its end, ended early, or began with another's agent."""
    who = "The run with {}" if len(environment.runs) > 1 else "The run"
    return [f"{who.format(run.label)} {told}" for run in environment.runs for told in _standing(run)]


def _standing(run: RunData) -> Iterator[str]:
    summary, ancestor = run.summary, run.info.begun_from
    if ancestor is not None:
        learned = f"which had learned from {text.count(ancestor.env_steps)} env steps"
        yield f"began with the agent of {text.without_folders(ancestor.name)}, {learned}."
    if summary.state != "finished":
        yield _unfinished(summary)
    elif summary.ended_by in EARLY:
        ended_at = f"{text.count(summary.env_steps)} of {text.count(summary.total_env_steps)} env steps"
        yield f"was ended by train.{summary.ended_by}, at {ended_at}."


def _unfinished(summary: RunSummary) -> str:
    where = f"{text.count(summary.env_steps)} of {text.count(summary.total_env_steps)} env steps"
    if summary.state == "failed":
        return f"failed at {where}: {text.without_folders(summary.error or 'it is not known of what')}"
    return f"is still training, at {where}." if summary.state == "running" else f"was interrupted at {where}."


def diagnoses(environment: EnvironmentData) -> list[tuple[str, list[str]]]:
    """Return what is to be said of the training of which runs; runs of which the same is to be said stand together."""
    found: dict[tuple[str, ...], list[str]] = {}
    for run in environment.runs:
        found.setdefault(tuple(_diagnosis(run)), []).append(run.label)
    everyone = f"all {len(environment.runs)} runs" if len(found) == 1 and len(environment.runs) > 1 else ""
    return [(everyone or text.listed(who), list(texts)) for texts, who in found.items()]


def _diagnosis(run: RunData) -> list[str]:
    """Look at every iteration of a run as the dashboard does while it trains."""
    looked_at = len(run.metrics) - health.FIRST_ITERATION + 1
    if looked_at < 1:
        return [f"too short to judge, which takes {health.FIRST_ITERATION} iterations."]
    follower = health.Health(_action_spec(run.run), run.run.config.num_iterations)
    seen: dict[str, list[tuple[int, health.Finding]]] = {}
    for row in run.metrics:
        follower.add(row)
        for finding in follower.findings(run.info.target_return):
            seen.setdefault(finding.metric, []).append((row.env_steps, finding))
    texts = []
    for found in seen.values():  # as it was when it was last found
        (first, _), (last, finding) = found[0], found[-1]
        until = "still so at the end" if last == run.metrics[-1].env_steps else f"no more after {text.count(last)}"
        when = f"So in {len(found):,} of {looked_at:,} iterations, first at {text.count(first)} env steps, {until}."
        texts.append(f"{finding.explanation} {when}")
    return texts or [f"nothing unusual in {len(run.metrics):,} iterations."]


def _action_spec(run: Run) -> ActionSpec | None:
    """Return what its actions are; None where the environment cannot be made here."""
    try:
        return action_spec_of(run.config.env)
    except PpocliError:
        return None
