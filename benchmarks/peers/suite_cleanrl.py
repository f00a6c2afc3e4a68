"""Train one of CleanRL's scripts, unchanged, with its defaults on a task of the suite, as a JSON object says.

Prints the greedy episodes of the policy at the end: returns and lengths. It knows Gymnasium 0.29, and observations that
are a Box, with Discrete or Box actions.
"""

import contextlib
import io
import json
import runpy
import sys
import time

import gymnasium as gym
import numpy as np
import suite_tasks  # noqa: F401
import torch

EARLIER = {"LunarLander-v3": "LunarLander-v2", "LunarLanderContinuous-v3": "LunarLanderContinuous-v2"} | {
    f"{name}-v5": f"{name}-v4"
    for name in ("Hopper", "HalfCheetah", "Walker2d", "Swimmer", "InvertedDoublePendulum", "Reacher")
}

asked = json.loads(sys.argv[1])
torch.set_num_threads(1)
task = EARLIER.get(asked["task"], asked["task"])
discrete = isinstance(gym.make(task).action_space, gym.spaces.Discrete)
script = f"{asked['folder']}/cleanrl/{'ppo.py' if discrete else 'ppo_continuous_action.py'}"
sys.argv = [script, f"--env-id={task}", f"--seed={asked['seed']}", f"--total-timesteps={asked['env_steps']}"]
started = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    left = runpy.run_path(script, run_name="__main__")
seconds = time.perf_counter() - started
agent = left["agent"]


def seen(obs):
    """An observation as the policy was trained to see it, by the statistics of its first environment."""
    env = left["envs"].envs[0]
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.NormalizeObservation):
            statistics = env.obs_rms
            return np.clip((obs - statistics.mean) / np.sqrt(statistics.var + env.epsilon), -10, 10)
        env = env.env
    return obs


returns, lengths = [], []
env = gym.make(task)
for episode in range(asked["episodes"]):
    obs, _ = env.reset(seed=asked["first_seed"] + episode)
    episode_return, length, ended = 0.0, 0, False
    while not ended:
        with torch.no_grad():
            inputs = torch.tensor(seen(np.asarray(obs, np.float64).ravel()), dtype=torch.float32)[None]
            if discrete:
                action = int(agent.actor(inputs).argmax())
            else:
                action = agent.actor_mean(inputs)[0].numpy().clip(env.action_space.low, env.action_space.high)
        obs, reward, terminated, truncated, _ = env.step(action)
        episode_return, length, ended = episode_return + float(reward), length + 1, terminated or truncated
    returns.append(episode_return)
    lengths.append(length)
print(json.dumps({"seconds": seconds, "returns": returns, "lengths": lengths}))
