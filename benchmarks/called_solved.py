"""How good the agents are that are called solved, each over many further episodes, and what it took to find out.

python benchmarks/called_solved.py lunar_fast --seeds 100-119 --episodes 1000
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from ppocli.records import checkpoint
from ppocli.training.seeds import parse_seeds


def ppocli(*arguments: str) -> dict[str, Any]:
    """Run a command and return what it prints as JSON."""
    command = [sys.executable, "-m", "ppocli", *arguments, "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("preset")
    parser.add_argument("--seeds", type=parse_seeds, default=list(range(100, 120)))
    parser.add_argument("--episodes", type=int, default=1000)
    options = parser.parse_args()
    means, vain, seconds = [], 0, [0.0, 0.0]
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as runs:
            trained = ppocli(
                *("train", "--config", options.preset, "--seed", str(seed), "--stop-when-solved", "--runs-dir", runs)
            )
            if not trained["solved"]:
                print(f"seed {seed}  not solved", flush=True)
                continue
            vain += int(checkpoint.load(Path(trained["checkpoint"])).part("judge")["checks"]) - 1
            seconds[0] += trained["seconds"]["evaluation"]
            seconds[1] += sum(trained["seconds"].values())
            found = ppocli("evaluate", trained["checkpoint"], "--episodes", str(options.episodes), "--runs-dir", runs)
        means.append(found["return_mean"])
        checked, steps = trained["best_return"], trained["solved_at_env_steps"]
        print(f"seed {seed}  solved after {steps:,} env steps with {checked:.1f}, then {means[-1]:.1f}", flush=True)
    if not means:
        sys.exit("none was called solved")
    at_least = sum(mean >= 190 for mean in means)
    print(f"{len(means)} of {len(options.seeds)} solved; median {median(means):.1f}, least {min(means):.1f}")
    print(f"{at_least} of them at 190 or more")
    print(f"asked {len(means) + vain} times, {vain} in vain; all checks took {seconds[0]:.0f} of {seconds[1]:.0f} s")


if __name__ == "__main__":
    main()
