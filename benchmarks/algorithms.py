"""The four algorithms on the same tasks, each with defaults alone but for its name: a row each, every seed.

    python benchmarks/algorithms.py --seeds 5
    python benchmarks/algorithms.py --tasks CartPole-v1:100000 --algorithms vpg a2c --runs-dir runs

Runs are trained to their end, and each run's best agent plays 100 unseen episodes. `a2c` is Stable-Baselines3's, with
its own defaults, whose last agent plays. Seconds are the wall-clock time that a training takes by itself, as a median;
the peer's are without imports and evaluations. Run nothing else beside it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median

import numpy as np
from peers import HERE, ONE_THREAD, printed, python_of

from ppocli.evaluation.estimates import t_interval

Trained = tuple[float, int, float]
TASKS = ("CartPole-v1:100000", "Pendulum-v1:300000", "LunarLander-v3:500000")


def train(task: str, algorithm: str, seeds: int, runs_dir: str, overrides: list[str]) -> list[Trained]:
    """Train every seed, one after the other; return each one's return, env steps and seconds."""
    env_id, _, env_steps = task.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "defaults.yaml"
        config.write_text(f"env: {{id: {env_id}}}\ntrain: {{env_steps: {env_steps}}}\n")
        settings = [word for override in overrides for word in ("--set", override)]
        outcome = subprocess.run(
            [
                *(sys.executable, "-m", "ppocli", "train", "--config", str(config), "--algorithm", algorithm),
                *("--seeds", f"0-{seeds - 1}", "--jobs", "1", "--runs-dir", runs_dir, "--quiet", "--json", *settings),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
    if outcome.returncode:
        sys.exit(f"{task}, {algorithm}: exit status {outcome.returncode}")
    runs = json.loads(outcome.stdout)["runs"]
    return [(run["evaluation"]["return_mean"], run["env_steps"], run["wall_seconds"]) for run in runs]


def a2c(task: str, seeds: int) -> list[Trained]:
    """Do the same with Stable-Baselines3's A2C."""
    env_id, _, env_steps = task.partition(":")
    found = []
    for seed in range(seeds):
        asked = json.dumps({"env_id": env_id, "env_steps": int(env_steps), "seed": seed})
        result = json.loads(printed([python_of("sb3"), HERE / "peers" / "a2c.py", asked], env=ONE_THREAD))
        found.append((result["return_mean"], int(env_steps), result["seconds"]))
    return found


def row(task: str, algorithm: str, runs: list[Trained]) -> str:
    """Return a row of the table."""
    returns = [one for one, *_ in runs]
    low, high = t_interval(np.array(returns)) or (returns[0], returns[0])
    cells = [
        task.partition(":")[0],
        algorithm.upper(),
        f"**{mean(returns):.1f}**",
        f"{low:.1f} to {high:.1f}",
        ", ".join(f"{value:.1f}" for value in returns),
        f"{runs[0][1]:,}",
        f"{median(seconds for *_, seconds in runs):.1f} s",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS, metavar="ID:ENV_STEPS")
    parser.add_argument("--algorithms", nargs="+", default=("ppo", "vpg", "npg", "trpo"))
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, …")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs-dir", help="where to keep the runs, for ppocli plot")
    options = parser.parse_args()
    print("| task | algorithm | mean over seeds | 95 % t interval | every seed | env steps | a training |")
    print("| --- " * 7 + "|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for task in options.tasks:
            for algorithm in options.algorithms:
                if algorithm == "a2c":
                    runs = a2c(task, options.seeds)
                else:
                    runs = train(task, algorithm, options.seeds, options.runs_dir or scratch, options.set)
                print(row(task, algorithm, runs), flush=True)


if __name__ == "__main__":
    main()
