"""A curriculum: the same task in three lengths, each begun with the agent of the one before, and from scratch.

    python examples/curriculum.py

Trains `--from` the run before, and then the longest alone, in as many env steps as the three had together: each with
three seeds.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LENGTHS, ENV_STEPS, SEEDS = (8, 25, 80), 20_000, (0, 1, 2)
CONFIG = """
env: {id: Corridor-v0, num_envs: 8}
train: {env_steps: 20_000, eval_interval: 10_000}
"""


def train(length: int, env_steps: int, seed: int, *options: str) -> tuple[str, float]:
    """Train in a corridor of a length; return the run, and the share of unseen episodes in which its agent arrives."""
    config = Path("corridor.yaml")
    config.write_text(CONFIG)
    task = ("--import", str(HERE / "corridor.py"))
    changes = (f"env.kwargs.length={length}", f"train.env_steps={env_steps}", f"train.seed={seed}")
    settings = [word for change in changes for word in ("--set", change)]
    run = ppocli("train", "--config", str(config), *settings, *task, *options, "--quiet")["run_dir"]
    return run, ppocli("evaluate", run, *task)["return_mean"]


def ppocli(*words: str) -> dict:
    """Run a command; return the JSON object that it prints."""
    command = [sys.executable, "-m", "ppocli", *words, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def main() -> None:
    """Print how far each comes."""
    for seed in SEEDS:
        origin: tuple[str, ...] = ()
        for length in LENGTHS:
            run, arrived = train(length, ENV_STEPS, seed, *origin)
            origin = ("--from", run)
            print(f"seed {seed}, length {length:3}: {arrived:.2f} of episodes arrive", flush=True)
        _, arrived = train(LENGTHS[-1], len(LENGTHS) * ENV_STEPS, seed)
        print(
            f"seed {seed}, length {LENGTHS[-1]:3} from scratch, {len(LENGTHS)} times as long: {arrived:.2f}", flush=True
        )


if __name__ == "__main__":
    main()
