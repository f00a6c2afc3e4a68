"""The suite: what a task that nothing but its id is known of is learned like, by ppocli and by its peers.

    python benchmarks/suite.py train ours --part reporting --log suite.jsonl
    python benchmarks/suite.py train sb3 --part reporting --log suite.jsonl
    python benchmarks/suite.py train zoo --part reporting --log suite.jsonl
    python benchmarks/suite.py train cleanrl --cleanrl ~/cleanrl --part reporting --log suite.jsonl
    python benchmarks/suite.py table --part reporting --log suite.jsonl
    python benchmarks/suite.py train ours --part twins --log twins.jsonl
    python benchmarks/suite.py train ours --points benchmarks/suite/points.yaml --log benchmarks/suite/search.jsonl

Each training is followed by 50 greedy episodes of the policy at its end, on unseen seeds; a line of the log has their
mean in the task's own units, whatever a twin makes of them, or null where training failed. Tables have a score: 0 for a
random policy, 1 for a good one. Defaults are chosen on one part of the tasks, by training with other settings
(`--points`), and reported on the other. Contestants: ours, Stable-Baselines3 and CleanRL with their own defaults, and
`zoo`, Stable-Baselines3 with what RL Zoo has tuned for a task, where it has. Trainings run side by side, one a core, so
that their seconds are for orientation: `peers.py` compares speed.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy import stats

from ppocli.evaluation.estimates import iqm

HERE = Path(__file__).parent
EPISODES = 50
FIRST_SEED_OF_EPISODES = 1_000_000
LOWEST_SCORE = -1.0  # a worse one counts as this: CliffWalking knows no bottom
RESAMPLES = 10_000


@dataclass(frozen=True)
class Task:
    """A task, and what a random and a good policy have in its own units.

    Good is the optimum where it can be worked out, else what good agents of others or of ours have had; a guess for
    Reach, which proved easy to surpass.
    """

    id: str
    random: float
    good: float

    def score(self, episode_return: float | None) -> float:
        """Return 0 for a random policy, 1 for a good one, the lowest for none at all."""
        if episode_return is None:
            return LOWEST_SCORE
        return max((episode_return - self.random) / (self.good - self.random), LOWEST_SCORE)


def unversioned(task: str) -> str:
    return task.rpartition("-v")[0]


# Split before anything was tuned on them.
PARTS = {
    "choosing": [
        Task("CartPole-v1", 24, 500),
        Task("LunarLander-v3", -192, 285),
        Task("Pendulum-v1", -1208, -142),
        Task("Hopper-v5", 17, 3400),
        Task("HalfCheetah-v5", -282, 5784),
        Task("MountainCarContinuous-v0", -33, 96.7),
        Task("FrozenLake-v1", 0.01, 0.74),
        Task("Identity-box-v0", 34.6, 100),
        Task("Identity-discrete-v0", 20, 100),
        Task("Catch-v0", -0.92, 1),
        Task("Pendulum-rewards-x1000-v0", -1208, -142),
        Task("CartPole-obs-x1000-v0", 24, 500),
    ],
    "reporting": [
        Task("Acrobot-v1", -497, -69),
        Task("MountainCar-v0", -200, -98),
        Task("LunarLanderContinuous-v3", -213, 290),
        Task("BipedalWalker-v3", -103, 329.8),
        Task("Walker2d-v5", 2, 4500),
        Task("Swimmer-v5", 1, 359),
        Task("InvertedDoublePendulum-v5", 49, 9350),
        Task("Reacher-v5", -43, -3.75),
        Task("Taxi-v4", -770, 7.9),
        Task("LimitedCliff-v0", -2030, -13),
        Task("Reach-v0", -29.8, -4),
        Task("Identity-box3-v0", 34.1, 100),
        Task("Identity-multi-discrete-v0", 29, 100),
        Task("Identity-multi-binary-v0", 50, 100),
        Task("LunarLander-rewards-x0.001-v0", -192, 285),
        Task("Pendulum-rewards-plus-1-v0", -1208, -142),
        Task("Reach-more-dimensions-v0", -29.8, -4),
        Task("Reach-actions-0-100-v0", -29.8, -4),
    ],
}
UNKNOWN_TO_CLEANRL = [  # whose observations are no vectors, or actions neither a choice nor real numbers
    *("FrozenLake-v1", "Taxi-v4", "LimitedCliff-v0", "Identity-discrete-v0"),
    *("Identity-multi-discrete-v0", "Identity-multi-binary-v0"),
]
# Tasks of both, each with its twins in other units.
OF_REWARDS_AND_OBS = ["rewards-x1000", "rewards-x0.001", "rewards-plus-1", "obs-x1000", "more-dimensions"]
OF_ACTIONS = ["actions-0.01", "actions-0-100"]
UNITS = {
    "CartPole-v1": OF_REWARDS_AND_OBS,
    "Pendulum-v1": OF_REWARDS_AND_OBS + OF_ACTIONS,
    "Reach-v0": OF_REWARDS_AND_OBS + OF_ACTIONS,
}
PARTS["twins"] = [
    replace(task, id=id)
    for task in PARTS["choosing"] + PARTS["reporting"]
    if task.id in UNITS
    for id in (task.id, *(f"{unversioned(task.id)}-{unit}-v0" for unit in UNITS[task.id]))
]


@dataclass(frozen=True)
class Trial:
    """One training: with which settings, for how long, on what."""

    name: str  # of the contestant, or of ours with other settings
    task: str
    seed: int
    env_steps: int


def ours(trial: Trial, settings: Sequence[str]) -> tuple[float, float]:
    """Train in this process; return the mean return, and the seconds of training."""
    import suite_tasks
    import torch

    from ppocli.config.load import load_config
    from ppocli.device import keep_freed_memory, one_thread
    from ppocli.envs.make import evaluation_envs
    from ppocli.evaluation.agents import load_agent
    from ppocli.evaluation.play import evaluate, greedy
    from ppocli.records import checkpoint
    from ppocli.records.run import Run
    from ppocli.records.writer import RunWriter
    from ppocli.training.job import Job
    from ppocli.training.loop import train

    keep_freed_memory()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        file, run = Path(folder) / "config.yaml", Run(Path(folder) / "run")
        file.write_text(yaml.safe_dump({"env": {"id": trial.task}}))
        # Only the policy at the end is asked for, and not here; what training asks by itself is kept short.
        asked = ["train.eval_episodes=1", f"train.eval_interval={10 * trial.env_steps}", "train.target_return=1e9"]
        overrides = ["env.workers=0", f"train.env_steps={trial.env_steps}", *asked, *settings]
        config = load_config(str(file), overrides, trial.seed)
        began = time.perf_counter()
        for _ in train(Job(config, RunWriter(run))):
            pass
        seconds = time.perf_counter() - began
        envs = evaluation_envs(config.evaluated_in)
        agent = load_agent(checkpoint.load(run.checkpoint("last")), envs)
        seeds = range(FIRST_SEED_OF_EPISODES, FIRST_SEED_OF_EPISODES + EPISODES)
        with one_thread():
            played = evaluate(envs, greedy(agent), seeds)
        envs.close()
    returns = [suite_tasks.plain_return(trial.task, one.episode_return, one.episode_length) for one in played]
    return float(np.mean(returns)), seconds


def peer(trial: Trial, package: str, **details: Any) -> tuple[float, float]:
    """Train a peer in an environment of its own; return the mean return, and the seconds of training."""
    import suite_tasks
    from peers import ONE_THREAD, printed, python_of

    asked = vars(trial) | details | {"episodes": EPISODES, "first_seed": FIRST_SEED_OF_EPISODES}
    command = [python_of(package), HERE / "peers" / f"suite_{package}.py", json.dumps(asked)]
    found = json.loads(printed(command, env=ONE_THREAD | {"PYTHONPATH": str(HERE)}).splitlines()[-1])
    played = zip(found["returns"], found["lengths"], strict=True)
    return float(np.mean([suite_tasks.plain_return(trial.task, *one) for one in played])), found["seconds"]


def trained(trial: Trial, contestant: str, points: Mapping[str, Any], cleanrl: Path | None) -> dict[str, Any]:
    """Return a line of the log."""
    try:
        match contestant:
            case "ours":
                settings = [f"{key}={json.dumps(value)}" for key, value in points[trial.name].items()]
                mean_return, seconds = ours(trial, settings)
            case "sb3":
                mean_return, seconds = peer(trial, "sb3")
            case "zoo":
                mean_return, seconds = peer(trial, "sb3", settings=tuned_by_zoo()[unversioned(trial.task)])
            case "cleanrl":
                mean_return, seconds = peer(trial, "cleanrl", folder=str(cleanrl))
    except (Exception, SystemExit) as error:
        print(f"{trial}: {error}", file=sys.stderr)
        return vars(trial) | {"return": None, "seconds": None}
    return vars(trial) | {"return": round(mean_return, 4), "seconds": round(seconds, 2)}


def tuned_by_zoo() -> dict[str, Any]:
    """Return RL Zoo's settings by the name of the task, without a version: it knows others of some."""
    found: dict[str, Any] = yaml.safe_load((HERE / "suite" / "zoo.yaml").read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "table"])
    parser.add_argument("contestant", nargs="?", choices=["ours", "sb3", "zoo", "cleanrl"], default="ours")
    parser.add_argument("--part", choices=list(PARTS), default="choosing")
    parser.add_argument("--tasks", nargs="*", metavar="ID", help="only these of them")
    parser.add_argument("--points", type=Path, metavar="YAML", help="ours with other settings: names, and their keys")
    parser.add_argument("--names", nargs="*", help="only these of the points, or of the rows")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--env-steps", type=int, default=100_000)
    parser.add_argument("--log", type=Path, default=Path("suite.jsonl"))
    parser.add_argument("--cleanrl", type=Path, metavar="FOLDER", help="a clone of CleanRL")
    options = parser.parse_args()
    if (options.what, options.contestant) == ("train", "cleanrl") and options.cleanrl is None:
        parser.error("--cleanrl FOLDER is needed: CleanRL is on no registry")
    tasks = [task for task in PARTS[options.part] if not options.tasks or task.id in options.tasks]
    if options.what == "train":
        train_all(options, [task.id for task in tasks])
    rows = [row for row in read(options.log) if row["env_steps"] == options.env_steps]
    table([row for row in rows if not options.names or row["name"] in options.names], tasks)


def train_all(options: argparse.Namespace, tasks: Sequence[str]) -> None:
    """Do the trainings that the log does not have yet."""
    points: dict[str, Any] = {options.contestant: {}}
    if options.points:
        points = yaml.safe_load(options.points.read_text())
    if options.contestant == "zoo":
        tasks = [task for task in tasks if unversioned(task) in tuned_by_zoo()]
    if options.contestant == "cleanrl":
        tasks = [task for task in tasks if task not in UNKNOWN_TO_CLEANRL]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    names = options.names or list(points)
    asked = [Trial(name, task, seed, options.env_steps) for seed in seeds for name in names for task in tasks]
    done = {tuple(row[key] for key in vars(asked[0])) for row in read(options.log)}
    with options.log.open("a") as log, ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        todo = [trial for trial in asked if tuple(vars(trial).values()) not in done]
        futures = [pool.submit(trained, trial, options.contestant, points, options.cleanrl) for trial in todo]
        for future in as_completed(futures):
            print(json.dumps(future.result()), file=log, flush=True)


def read(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


Scores = dict[str, NDArray[np.float64]]  # of each task, one a seed


def table(rows: Sequence[Mapping[str, Any]], tasks: Sequence[Task]) -> None:
    """Print each contestant's scores, and where `ours` is among them, what it is beside each of the others.

    An arrow says that a score is told from ours, by Welch's 95 % interval of the difference, and to which side.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for task in tasks:
            if task.id == row["task"]:
                found[row["name"]][task.id].append(task.score(row["return"]))
    scores: dict[str, Scores] = {
        name: {task.id: np.array(own[task.id]) for task in tasks if task.id in own} for name, own in found.items()
    }
    by_mean = sorted(scores, key=lambda name: -np.mean([own.mean() for own in scores[name].values()]))
    print("| mean score | " + " | ".join(by_mean) + " |\n| --- |" + " --- |" * len(by_mean))
    for task in tasks:
        own = {name: scores[name][task.id] for name in by_mean if task.id in scores[name]}
        verdicts = {name: verdict(own["ours"], own[name]) for name in own if "ours" in own and name != "ours"}
        arrows = {name: {"better": " ↓", "worse": " ↑"}.get(found, "") for name, found in verdicts.items()}
        cells = [f"{own[name].mean():.3f}{arrows.get(name, '')}" if name in own else "–" for name in by_mean]
        print(f"| {task.id} | {' | '.join(cells)} |")
    aggregates = {
        "IQM": lambda own: iqm(np.concatenate(list(own.values()))),
        "mean": lambda own: np.mean([one.mean() for one in own.values()]),
        "worst task": lambda own: min(one.mean() for one in own.values()),
        "trainings": lambda own: sum(map(len, own.values())),
    }
    common = [task.id for task in tasks if all(task.id in own for own in scores.values())]
    print(f"| *of the {len(common)} tasks of all* |" + " |" * len(by_mean))
    for name, of in aggregates.items() if common else ():
        cells = [f"{of({task: scores[one][task] for task in common}):.3g}" for one in by_mean]
        print(f"| **{name}** | {' | '.join(cells)} |")
    for name in by_mean if "ours" in scores else ():
        if name != "ours":
            print(f"\n{beside(name, scores['ours'], scores[name])}")
    for name in by_mean:
        print(in_other_units(name, scores[name]))


def difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Return Welch's 95 % interval of what the first has more on average."""
    if min(len(one), len(other)) < 2:
        return -math.inf, math.inf
    # Where nothing varies on either side, as where both solve a task every time, the difference is what it is.
    low = high = one.mean() - other.mean()
    if max(np.ptp(one), np.ptp(other)) > 0:
        low, high = stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    return float(low), float(high)


def verdict(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> str:
    """Return what ours is beside theirs, as far as the interval of the difference tells."""
    low, high = difference(ours, theirs)
    return "better" if low > 0 else "worse" if high < 0 else "equal within error"


def in_other_units(name: str, scores: Scores) -> str:
    """Return how a contestant's scores differ from those of the same task in its own units."""
    lines = []
    for plain in UNITS.keys() & scores.keys():
        for twin in (f"{unversioned(plain)}-{unit}-v0" for unit in UNITS[plain]):
            if twin in scores:
                means = f"{scores[twin].mean():.3f} against {scores[plain].mean():.3f}"
                low, high = difference(scores[twin], scores[plain])
                lines.append(f"- {name} on {twin}: {means}, the difference 95 % from {low:.3f} to {high:.3f}")
    return "\n".join(lines)


def beside(name: str, ours: Scores, theirs: Scores) -> str:
    """Return how ours compares with a peer on the tasks of both: by Welch's interval on each, by bootstrap on all."""
    both = [task for task in ours if task in theirs]
    verdicts: dict[str, list[str]] = {"better": [], "equal within error": [], "worse": []}
    for task in both:
        verdicts[verdict(ours[task], theirs[task])].append(task)
    rng = np.random.default_rng(0)

    def resampled(side: Scores) -> NDArray[np.float64]:  # seeds are drawn anew within each task, arXiv:2108.13264
        drawn = [rng.choice(side[task], (RESAMPLES, len(side[task]))) for task in both]
        found: NDArray[np.float64] = iqm(np.hstack(drawn), axis=1)
        return found

    low, high = np.quantile(resampled(ours) - resampled(theirs), [0.025, 0.975])
    means = [np.mean([side[task].mean() for task in both]) for side in (ours, theirs)]
    higher = [task for task in both if ours[task].mean() > theirs[task].mean()]
    lines = [
        f"Beside {name}, {len(both)} tasks: IQM {iqm(np.concatenate([ours[t] for t in both])):.3f} against "
        f"{iqm(np.concatenate([theirs[t] for t in both])):.3f}, the difference 95 % from {low:.3f} to {high:.3f}; "
        f"mean {means[0]:.3f} against {means[1]:.3f}; the higher mean on {len(higher)}.",
        *(
            f"- {verdict}: {len(those)}{' – ' if those else ''}{', '.join(those)}"
            for verdict, those in verdicts.items()
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
