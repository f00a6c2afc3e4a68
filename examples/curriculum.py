"""A curriculum: the same task in three lengths, each begun with the agent of the one before, and from scratch.

    python examples/curriculum.py

Trains `--from` the run before, and then the longest alone, in as many env steps as the three had together.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LENGTHS, ENV_STEPS = (8, 25, 80), 20_000
CONFIG = """
env: {id: Corridor-v0, num_envs: 8}
train: {env_steps: 20_000, eval_interval: 10_000}
"""


def train(length: int, env_steps: int, *options: str) -> dict:
    """Train in a corridor of a length; return the command's result, its evaluation with it."""
    config = Path("corridor.yaml")
    config.write_text(CONFIG)
    task = ("--import", str(HERE / "corridor.py"))
    settings = ("--set", f"env.kwargs.length={length}", "--set", f"train.env_steps={env_steps}")
    trained = ppocli("train", "--config", str(config), *settings, *task, *options, "--quiet")
    return trained | {"evaluation": ppocli("evaluate", trained["run_dir"], *task)}


def ppocli(*words: str) -> dict:
    """Run a command; return the JSON object that it prints."""
    command = [sys.executable, "-m", "ppocli", *words, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def main() -> None:
    """Print how far each comes."""
    origin: tuple[str, ...] = ()
    for length in LENGTHS:
        trained = train(length, ENV_STEPS, *origin)
        origin = ("--from", trained["run_dir"])
        print(f"length {length:3}: {trained['evaluation']['return_mean']:.2f} of episodes arrive", flush=True)
    scratch = train(LENGTHS[-1], len(LENGTHS) * ENV_STEPS)
    print(
        f"length {LENGTHS[-1]:3} from scratch, {len(LENGTHS)} times as long: {scratch['evaluation']['return_mean']:.2f}"
    )


if __name__ == "__main__":
    main()
