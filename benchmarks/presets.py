"""What the presets reach: each trained to its end, then `ppocli evaluate` over 100 unseen episodes; a row each.

    python benchmarks/presets.py cartpole lunar bipedal_walker:envpool --seeds 5

A contestant is a preset, with `:envpool` after it to train on that backend. Run nothing else beside it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from statistics import mean, median

import numpy as np

from ppocli.evaluation.estimates import t_interval


def ppocli(*arguments: str) -> dict:
    outcome = subprocess.run([sys.executable, "-m", "ppocli", *arguments, "--json"], capture_output=True, text=True)
    if outcome.returncode:
        sys.exit(f"ppocli {' '.join(arguments)} failed:\n{outcome.stderr}")
    return json.loads(outcome.stdout)


def measure(contestant: str, seed: int) -> tuple[dict, dict]:
    """Train and evaluate; return both results."""
    preset, _, backend = contestant.partition(":")
    with tempfile.TemporaryDirectory() as runs:
        trained = ppocli(
            *("train", "--config", preset, "--seed", str(seed), "--runs-dir", runs),
            *("--set", f"env.backend={backend or 'gymnasium'}"),
        )
        return trained, ppocli("evaluate", trained["run_dir"])


def row(contestant: str, runs: list[tuple[dict, dict]]) -> str:
    evaluations = [evaluated for _, evaluated in runs]
    returns = ", ".join(f"{e['return_mean']:.1f} ± {e['return_std']:.1f}" for e in evaluations)
    means = np.array([e["return_mean"] for e in evaluations])
    bounds = t_interval(means)
    solved = [e["solved_fraction"] for e in evaluations if e["solved_fraction"] is not None]
    return " | ".join(
        [
            f"| `{contestant}`",
            f"**{means.mean():.1f}**",
            "–" if bounds is None else f"{bounds[0]:.1f} to {bounds[1]:.1f}",
            returns,
            f"{mean(solved):.1%}" if solved else "no target",
            f"{runs[0][0]['env_steps']:,}",
            f"{median(trained['wall_seconds'] for trained, _ in runs):.1f} s |",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestants", nargs="+", metavar="PRESET[:envpool]")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, …")
    arguments = parser.parse_args()
    header = "| preset | mean over seeds | 95 % t interval | every seed ± its episodes | at the target | env steps | "
    print(f"{header}wall-clock time |\n{'| --- ' * 7}|", flush=True)
    for contestant in arguments.contestants:
        print(row(contestant, [measure(contestant, seed) for seed in range(arguments.seeds)]), flush=True)


main()
