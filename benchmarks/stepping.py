"""What training costs beside stepping alone: env steps/s of a whole `train`, and of random actions in one process.

python benchmarks/stepping.py lunar --rounds 3
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from statistics import median

import numpy as np

from ppocli.config.load import load_config
from ppocli.config.models import Config
from ppocli.envs.episodes import Episodes
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.evaluation.play import random
from ppocli.seeds import training_seeds


def bare(config: Config, num_steps: int) -> float:
    """Return env steps/s of random actions in this process, each environment stepped after the other."""
    envs = GymnasiumVectorEnv(config.env, config.env.num_envs)
    episodes = Episodes(envs, training_seeds(0))
    policy = random(envs.action_spec)
    rngs = [np.random.default_rng(seed) for seed in range(envs.num_envs)]
    actions = [policy(episodes.obs, rngs) for _ in range(num_steps // envs.num_envs)]
    start = time.perf_counter()
    for row in actions:
        episodes.step(row)
        episodes.start_next()
    return len(actions) * envs.num_envs / (time.perf_counter() - start)


def training_loop(preset: str, num_steps: int) -> float:
    """Return env steps/s of a training run's rollouts and updates."""
    with tempfile.TemporaryDirectory() as runs:
        command = [*(sys.executable, "-m", "ppocli", "train", "--config", preset, "--json", "--runs-dir", runs)]
        outcome = subprocess.run(
            [*command, "--set", f"train.env_steps={num_steps}"], capture_output=True, text=True, check=True
        )
    result = json.loads(outcome.stdout)
    return result["env_steps"] / (result["seconds"]["rollout"] + result["seconds"]["update"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--env-steps", type=int, default=100_000)
    arguments = parser.parse_args()
    ratios = []
    for _ in range(arguments.rounds):
        stepping = bare(load_config(arguments.preset), arguments.env_steps)
        training = training_loop(arguments.preset, arguments.env_steps)
        ratios.append(training / stepping)
        print(f"bare stepping {stepping:,.0f}/s, training loop {training:,.0f}/s: {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {median(ratios):.2f}")


main()
