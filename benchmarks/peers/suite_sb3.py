"""Train Stable-Baselines3's PPO on a task of the suite, as a JSON object in the first argument says.

With its defaults, or with `settings` as RL Zoo has them. Prints the greedy episodes of the policy at the end.
"""

import json
import sys
import time

import suite_tasks  # noqa: F401
import torch
from sb3 import make, schedule
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize


def envs_of(task, count):
    return DummyVecEnv([lambda: make(task) for _ in range(count)])


asked = json.loads(sys.argv[1])
torch.set_num_threads(1)
settings = asked.get("settings", {})
train_envs = envs_of(asked["task"], settings.pop("n_envs", 1))
normalized = settings.pop("normalize", False)
if normalized:
    train_envs = VecNormalize(train_envs, gamma=settings.get("gamma", 0.99))
network = settings.get("policy_kwargs", {})
if "activation_fn" in network:
    network["activation_fn"] = getattr(torch.nn, network["activation_fn"])
for name in settings.keys() & {"learning_rate", "clip_range"}:
    settings[name] = schedule(settings[name])
model = PPO("MlpPolicy", train_envs, seed=asked["seed"], device="cpu", **settings)
started = time.perf_counter()
model.learn(asked["env_steps"])
seconds = time.perf_counter() - started
unseen = envs_of(asked["task"], 10)
unseen.seed(asked["first_seed"])
if normalized:
    unseen = VecNormalize(unseen, training=False, norm_reward=False)
    unseen.obs_rms = train_envs.obs_rms
returns, lengths = evaluate_policy(model, unseen, n_eval_episodes=asked["episodes"], return_episode_rewards=True)
print(json.dumps({"seconds": seconds, "returns": list(map(float, returns)), "lengths": list(map(int, lengths))}))
