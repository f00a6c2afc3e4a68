"""Time from Enter to solved: the whole command `ppocli train --stop-when-solved`, in turn with Stable-Baselines3.

    python benchmarks/solved.py lunar --seeds 10                          # every seed, median and worst
    python benchmarks/solved.py lunar lunar:envpool --seeds 2 --peer      # and the ratio to the peer
    python benchmarks/solved.py lunar --to-the-end --seeds 2 --peer       # env steps/s of the whole training

A contestant is a preset, with `:envpool` after it to step that backend. For the peer an environment of its own is made
in benchmarks/.peer on first use. Run nothing else beside it.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median

from ppocli.config.load import load_config

HERE = Path(__file__).parent
PEER_PACKAGES = ["stable-baselines3==2.9.2", "gymnasium[box2d]>=1.4,<1.5", "torch>=2.11,<2.14"]


def run_json(command: list[str]) -> tuple[float, dict]:
    """Run a command that prints JSON; return its wall-clock time in seconds, and what it printed."""
    start = time.perf_counter()
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if outcome.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{outcome.stderr}")
    return seconds, json.loads(outcome.stdout.splitlines()[-1])


def train(contestant: str, seed: int, to_the_end: bool) -> dict:
    preset, _, backend = contestant.partition(":")
    with tempfile.TemporaryDirectory() as runs:
        seconds, result = run_json(
            [
                *(sys.executable, "-m", "ppocli", "train", "--config", preset, "--seed", str(seed)),
                *("--set", f"env.backend={backend or 'gymnasium'}"),
                *("--json", "--runs-dir", runs, *([] if to_the_end else ["--stop-when-solved"])),
            ]
        )
    return {
        "solved": result["solved"],
        "seconds": seconds,
        "env_steps": result["env_steps"],
        "spent": result["seconds"],
    }


def peer_python() -> str:
    folder = HERE / ".peer"
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing {', '.join(PEER_PACKAGES)}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
    return str(python)


def train_peer(python: str, env_id: str, seed: int) -> dict:
    _, result = run_json([python, str(HERE / "peer_sb3.py"), env_id, str(seed)])
    return result


def median_speed(runs: list[dict]) -> float:
    return median(run["env_steps"] / run["seconds"] for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestants", nargs="+", metavar="PRESET[:envpool]")
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0, 1, …, each for every contestant in turn")
    parser.add_argument("--peer", action="store_true", help="run Stable-Baselines3 too")
    parser.add_argument("--to-the-end", action="store_true", help="train on when the task is solved")
    arguments = parser.parse_args()
    env_id = load_config(arguments.contestants[0].partition(":")[0]).env.id
    python = peer_python() if arguments.peer else None
    results: dict[str, list[dict]] = {}
    for contestant in arguments.contestants:
        train(contestant, 0, arguments.to_the_end)  # warms the caches; not counted
    for seed in range(arguments.seeds):
        for contestant in [*arguments.contestants, *(["peer"] if python else [])]:
            if contestant == "peer":
                result = train_peer(python, env_id, seed)
            else:
                result = train(contestant, seed, arguments.to_the_end)
            results.setdefault(contestant, []).append(result)
            outcome = "solved" if result["solved"] else "NOT SOLVED"
            speed = result["env_steps"] / result["seconds"]
            spent = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in result.get("spent", {}).items())
            print(
                f"seed {seed}  {contestant:20}  {outcome} after {result['env_steps']:9,} env steps, "
                f"{result['seconds']:6.2f} s  ({speed:,.0f}/s; {spent})",
                flush=True,
            )
    for contestant, runs in results.items():
        # What did not solve the task takes longer than all that did; to the end, each takes what it takes.
        counted = [run["solved"] or arguments.to_the_end for run in runs]
        seconds = [run["seconds"] if counts else math.inf for run, counts in zip(runs, counted, strict=True)]
        solved = sum(run["solved"] for run in runs)
        print(
            f"{contestant:20}  {solved} of {len(runs)} solved; median {median(seconds):.2f} s, "
            f"best {min(seconds):.2f} s, worst {max(seconds):.2f} s; median {median_speed(runs):,.0f} env steps/s"
        )
        if python and contestant != "peer":
            if not arguments.to_the_end:
                peer = median(run["seconds"] if run["solved"] else math.inf for run in results["peer"])
                ratio = peer / median(seconds)
                print(f"{'':20}  the peer's median takes {ratio:.1f} times as long")
            ratio = median_speed(runs) / median_speed(results["peer"])
            print(f"{'':20}  {ratio:.1f} times the peer's env steps/s")
    if python:
        print(f"peer: {results['peer'][0]['versions']}")


main()
