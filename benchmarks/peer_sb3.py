"""Train Stable-Baselines3's PPO with RL Zoo's preset until it has solved its task; print one JSON object.

Runs in an environment of its own, which `solved.py` makes. The peer at its fairest: one thread, environments without a
render mode, and the clock stands still during imports and while the solved question is asked. It is asked after every
rollout in which the last 100 episodes average at least half the target, more often than ppocli asks itself.
"""

import json
import sys
import time

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

# From hyperparams/ppo.yml of rl-baselines3-zoo; LunarLander-v3 as its LunarLander-v2.
PRESETS = {
    "LunarLander-v3": {
        "steps": 1_000_000,
        "num_envs": 16,
        "target": 200,
        "settings": {
            "n_steps": 1024,
            "batch_size": 64,
            "gae_lambda": 0.98,
            "gamma": 0.999,
            "n_epochs": 4,
            "ent_coef": 0.01,
        },
    },
    "CartPole-v1": {
        "steps": 100_000,
        "num_envs": 8,
        "target": 475,
        "settings": {
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": lambda left: left * 1e-3,
            "clip_range": lambda left: left * 0.2,
        },
    },
}


def make(env_id):
    return Monitor(gym.make(env_id))


class AskWhetherSolved(BaseCallback):
    """Plays 100 greedy episodes after a rollout, on unseen seeds, and ends training when they average the target."""

    def __init__(self, env_id, target):
        super().__init__()
        self.env_id, self.target = env_id, target
        self.asking_seconds = 0.0
        self.greedy_return = None
        self.solved = False

    def _on_step(self):
        return not self.solved

    def _on_rollout_end(self):
        recent = [episode["r"] for episode in self.model.ep_info_buffer]
        if len(recent) < 100 or np.mean(recent) < self.target / 2:
            return
        start = time.perf_counter()
        envs = DummyVecEnv([lambda: make(self.env_id) for _ in range(20)])
        envs.seed(1_000_000)
        self.greedy_return, _ = evaluate_policy(self.model, envs, n_eval_episodes=100)
        self.solved = self.greedy_return >= self.target
        self.asking_seconds += time.perf_counter() - start


def main():
    env_id, seed = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    preset = PRESETS[env_id]
    started = time.perf_counter()
    envs = DummyVecEnv([lambda: make(env_id) for _ in range(preset["num_envs"])])
    model = PPO("MlpPolicy", envs, seed=seed, device="cpu", **preset["settings"])
    ask = AskWhetherSolved(env_id, preset["target"])
    model.learn(preset["steps"], callback=ask)
    seconds = time.perf_counter() - started - ask.asking_seconds
    packages = {"stable_baselines3": stable_baselines3, "torch": torch, "gymnasium": gym, "numpy": np}
    result = {
        "solved": bool(ask.solved),
        "seconds": seconds,
        "env_steps": model.num_timesteps,
        "env_steps_per_second": model.num_timesteps / seconds,
        "greedy_return": ask.greedy_return,
        "versions": {name: package.__version__ for name, package in packages.items()},
    }
    print(json.dumps(result))


main()
