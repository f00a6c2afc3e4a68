"""Train Stable-Baselines3's A2C with its defaults, as a JSON object in the first argument says; print what it reached.

Runs in an environment of its own, which `peers.py` makes. Greedy episodes at the end, on unseen seeds.
"""

import json
import sys
import time

import gymnasium as gym
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv


def main():
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(1)

    def make():
        return Monitor(gym.make(asked["env_id"]))

    started = time.perf_counter()
    model = A2C("MlpPolicy", DummyVecEnv([make]), seed=asked["seed"], device="cpu")
    model.learn(asked["env_steps"])
    seconds = time.perf_counter() - started
    envs = DummyVecEnv([make] * 20)
    envs.seed(1_000_000)
    mean_return, _ = evaluate_policy(model, envs, n_eval_episodes=100)
    print(json.dumps({"seconds": seconds, "return_mean": float(mean_return)}))


if __name__ == "__main__":
    main()
