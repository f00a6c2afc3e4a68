"""Train Stable-Baselines3's PPO as a JSON object in the first argument says; print another one about it.

Runs in an environment of its own, which `peers.py` makes. The peer at its fairest: one thread, environments in its own
process without a render mode, and the clock stands still during imports and while the solved question is asked. It is
asked after every rollout in which the last 100 episodes average at least half the target, more often than ppocli asks.
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
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize


def make(env_id):
    return Monitor(gym.make(env_id))


def schedule(value):
    """A number, or how it falls in a line, as Stable-Baselines3 takes it: from the share that is left."""
    return (lambda left: value["end"] + left * (value["start"] - value["end"])) if isinstance(value, dict) else value


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
        if self.target is None or len(recent) < 100 or np.mean(recent) < self.target / 2:
            return
        start = time.perf_counter()
        envs = DummyVecEnv([lambda: make(self.env_id) for _ in range(20)])
        envs.seed(1_000_000)
        self.greedy_return, _ = evaluate_policy(self.model, envs, n_eval_episodes=100)
        self.solved = self.greedy_return >= self.target
        self.asking_seconds += time.perf_counter() - start


def main():
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    settings = asked["settings"] | {name: schedule(asked["settings"][name]) for name in ("learning_rate", "clip_range")}
    sizes, activation = asked["hidden_sizes"], getattr(torch.nn, {"tanh": "Tanh", "relu": "ReLU"}[asked["activation"]])
    network = {"net_arch": {"pi": sizes, "vf": sizes}, "activation_fn": activation}
    started = time.perf_counter()
    envs = DummyVecEnv([lambda: make(asked["env_id"]) for _ in range(asked["num_envs"])])
    if asked["norm_obs"] or asked["norm_reward"]:
        envs = VecNormalize(envs, asked["norm_obs"], asked["norm_reward"], gamma=settings["gamma"])
    model = PPO("MlpPolicy", envs, seed=asked["seed"], device="cpu", policy_kwargs=network, **settings)
    ask = AskWhetherSolved(asked["env_id"], asked["target"])
    model.learn(asked["env_steps"], callback=ask)
    packages = {"stable_baselines3": stable_baselines3, "torch": torch, "gymnasium": gym, "numpy": np}
    result = {
        "solved": bool(ask.solved),
        "seconds": time.perf_counter() - started - ask.asking_seconds,
        "env_steps": model.num_timesteps,
        "greedy_return": ask.greedy_return,
        "versions": {name: package.__version__ for name, package in packages.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
