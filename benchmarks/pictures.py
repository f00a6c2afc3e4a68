"""Training on pictures beside Stable-Baselines3 and CleanRL, in turn, with the same network, batches and epochs.

    python benchmarks/pictures.py --rounds 3
    python benchmarks/pictures.py --rounds 3 --cleanrl ~/cleanrl    # Breakout on EnvPool, by its ppo_atari_envpool.py

Beside Stable-Baselines3 the environment costs next to nothing: noise of 4 × 84 × 84 bytes, another every step. All have
Nature's network, shared, 8 environments, 128 steps, minibatches of 256, 4 epochs, and the settings below; what is
compared is env steps a second of rollouts and updates, without imports, evaluations and the first iteration, ours with
the two threads that it has for pictures, theirs with 1 and with 2. CleanRL's script takes an EnvPool of its time; our
games of Breakout end after 200 env steps, so that the evaluation at the end is short. Run nothing else beside it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from peers import python_of

HERE, ENV_STEPS = Path(__file__).parent, 8 * 128 * 6
TASK = """
import gymnasium as gym
import numpy as np

class Noise(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    action_space = gym.spaces.Discrete(6)
    def __init__(self, render_mode=None):
        self.frames = np.random.default_rng(0).integers(256, size=(64, 4, 84, 84)).astype(np.uint8)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.frames[0], {}
    def step(self, action):
        self.steps += 1
        return self.frames[self.steps % 64], float(action == self.steps % 6), False, False, {}

gym.register("Noise-v0", Noise, max_episode_steps=500)
"""
CONFIG = f"""
env: {{id: Noise-v0, num_envs: 8}}
network: {{normalize_obs: false}}
rollout: {{horizon: 128, gamma: 0.99, normalize_rewards: false}}
update: {{minibatch_size: 256, update_epochs: 4, learning_rate: 2.5e-4, ent_coef: 0.01}}
ppo: {{clip_coef: 0.1}}
train: {{env_steps: {ENV_STEPS}, eval_interval: 1_000_000, eval_episodes: 1}}
"""
BREAKOUT = f"""
env:
  id: ALE/Breakout-v5
  kwargs: {{frameskip: 1, repeat_action_probability: 0, obs_type: grayscale}}
  wrappers:
    - {{id: AtariPreprocessing}}
    - {{id: FrameStackObservation, stack_size: 4}}
    - {{id: TimeLimit, max_episode_steps: 200}}
    - {{id: TerminateOnLifeLoss, training_only: true}}
    - {{id: ClipReward, min_reward: -1, max_reward: 1, training_only: true}}
  num_envs: 8
  backend: envpool
network: {{normalize_obs: false}}
rollout: {{horizon: 128, gamma: 0.99, normalize_rewards: false}}
update: {{minibatch_size: 256, update_epochs: 4, learning_rate: {{start: 2.5e-4, end: 0}}, ent_coef: 0.01}}
ppo: {{clip_coef: 0.1, clip_vloss: true}}
train: {{env_steps: {ENV_STEPS}, eval_interval: 1_000_000, eval_episodes: 1}}
"""
THEIRS = f"""
import sys, time
import noise, torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
torch.set_num_threads(int(sys.argv[1]))
envs = make_vec_env("Noise-v0", 8, env_kwargs=dict(render_mode=None))
model = PPO("CnnPolicy", envs, n_steps=128, batch_size=256, n_epochs=4, learning_rate=2.5e-4, ent_coef=0.01,
            clip_range=0.1, device="cpu", policy_kwargs=dict(normalize_images=True))
model.learn(1024)
began = time.perf_counter()
model.learn({ENV_STEPS})
print({ENV_STEPS} / (time.perf_counter() - began))
"""


def ours(folder: Path, config: str) -> float:
    """Return env steps a second, the first iteration aside."""
    command = [sys.executable, "-m", "ppocli", "train", "--config", config, "--import", "noise", "--quiet"]
    done = subprocess.run([*command, "--json"], cwd=folder, check=True, capture_output=True, text=True)
    run = Path(json.loads(done.stdout)["run_dir"])
    header, *rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    places = [header.index(name) for name in ("rollout_seconds", "update_seconds")]
    return 1024 * len(rows[1:]) / sum(float(row[place]) for row in rows[1:] for place in places)


def theirs(folder: Path, threads: int) -> float:
    """Return env steps a second."""
    done = subprocess.run(
        [python_of("sb3"), "theirs.py", str(threads)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.split()[-1])


def cleanrls(folder: Path, threads: int, checkout: Path) -> float:
    """Return env steps a second, the first iteration aside."""
    script, steps = checkout / "cleanrl" / "ppo_atari_envpool.py", ["--total-timesteps", str(ENV_STEPS)]
    done = subprocess.run(
        [python_of("cleanrl_envpool"), script, *steps, "--env-id", "Breakout-v5", "--no-cuda"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        check=True,
        capture_output=True,
        text=True,
    )
    rates = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("SPS:")]
    seconds = [1024 * number / rate for number, rate in enumerate(rates, 1)]  # since it began
    return 1024 * (len(rates) - 1) / (seconds[-1] - seconds[0])


def main() -> None:
    """Print each round, and the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cleanrl", type=Path, help="a checkout of it, to compare with instead")
    asked = parser.parse_args()
    found: dict[str, list[float]] = {"ours": [], "theirs, 1 thread": [], "theirs, 2 threads": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = {"noise.py": TASK, "noise.yaml": CONFIG, "breakout.yaml": BREAKOUT, "theirs.py": THEIRS}
        for file, text in texts.items():
            (folder / file).write_text(text)
        for _ in range(asked.rounds):
            found["ours"].append(ours(folder, "breakout.yaml" if asked.cleanrl else "noise.yaml"))
            for threads in (1, 2):
                speed = cleanrls(folder, threads, asked.cleanrl) if asked.cleanrl else theirs(folder, threads)
                found[f"theirs, {threads} thread{'s' * (threads > 1)}"].append(speed)
            print({side: round(speeds[-1]) for side, speeds in found.items()}, flush=True)
    middle = {side: median(speeds) for side, speeds in found.items()}
    best = max(speed for side, speed in middle.items() if side != "ours")
    print({side: round(speed) for side, speed in middle.items()}, f"ours is {middle['ours'] / best:.2f} times theirs")


if __name__ == "__main__":
    main()
