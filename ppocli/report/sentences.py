"""What a report says in sentences: what was trained, how well it does, and what has not come to its end."""

from collections.abc import Sequence

import numpy as np

from ppocli.estimates import mean
from ppocli.report import written
from ppocli.report.data import EnvironmentData, GroupData


def title(environments: Sequence[EnvironmentData]) -> str:
    """Return what the page is about."""
    names = [environment.env_id for environment in environments]
    return f"PPO on {written.listed(names) if len(names) <= 3 else f'{len(names)} environments'}"


def result_sentence(data: GroupData) -> str:
    """Return in a sentence what was trained and how well it does."""
    config = f"With {data.group.label}, " if data.group.label else ""
    verb = "learned" if any(run.facts.solved for run in data.runs) else "trained on"
    words = f"{config}PPO {verb} {data.group.env_id} {_origin(data)}"
    if not data.means:
        reasons = written.listed(list(dict.fromkeys(run.no_evaluation for run in data.runs)))
        return f"{words}; no agent has been evaluated: {reasons}."
    return f"{words}: {_evaluation_words(data)}; {_solved_words(data)}."


def _origin(data: GroupData) -> str:
    if len(data.runs) == 1:
        return f"from {data.seeds}"
    seeds = {run.summary.seed for run in data.runs}
    return f"from {len(seeds)} seeds" if len(seeds) == len(data.runs) else f"in {len(data.runs)} runs"


def _evaluation_words(data: GroupData) -> str:
    episodes = (
        f"over {written.span((len(run.returns) for run in data.runs if run.returns), written.count)} unseen episodes"
    )
    random = f"the random policy’s {written.number(data.random_mean)}"
    means = data.means
    average = written.number(float(np.mean(means)))
    if len(data.runs) == 1:
        spread = written.number(float(np.std(data.runs[0].returns)))
        return f"{episodes} the greedy agent’s mean return is {average} (standard deviation {spread}), {random}"
    notes = [f"95 % interval over seeds {written.interval_of(means, mean)}"] if len(means) > 1 else []
    if len(means) < len(data.runs):
        notes.append(f"{len(means)} of {len(data.runs)} evaluated")
    return f"{episodes} each, the greedy agents’ mean return is {average} ({', '.join(notes)}), {random}"


def _solved_words(data: GroupData) -> str:
    target, num_runs = data.group.target, len(data.runs)
    if target is None:
        return "the task names no return that counts as solved"
    solved = [run.facts.solved for run in data.runs if run.facts.solved]
    task = f"solved the task (mean return ≥ {written.plain(target)})"
    if not solved:
        who = {1: "it has not", 2: "neither has"}.get(num_runs, "none has")
        return f"{who} {task}"
    who = {1: "it", 2: "both"}.get(num_runs, f"all {num_runs}")
    if len(solved) < num_runs:
        who = f"{len(solved)} of {num_runs}"
    steps = written.span((one.env_steps for one in solved), written.count)
    seconds = written.span((one.seconds for one in solved), written.duration)
    return f"{who} {task}, after {steps} env steps ({seconds} of training)"


def standing_sentences(environment: EnvironmentData) -> list[str]:
    """Return a sentence for each run that has not come to its end."""
    runs = environment.runs
    sentences = []
    for run in runs:
        summary = run.summary
        who = "The run" if len(runs) == 1 else f"The run with {run.label}"
        where = f"{written.count(summary.env_steps)} of {written.count(summary.total_env_steps)} env steps"
        if summary.state == "running":
            sentences.append(f"{who} is still training, at {where}.")
        elif summary.state == "interrupted":
            sentences.append(f"{who} was interrupted at {where}.")
        elif summary.state == "failed":
            sentences.append(
                f"{who} failed at {where}: {written.without_folders(summary.error or 'it is not known of what')}"
            )
    return sentences
