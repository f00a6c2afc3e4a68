"""Registers MyTask-v0 with Gymnasium."""

import gymnasium as gym

gym.register(
    "MyTask-v0",
    entry_point="my_task.env:MyTask",
    max_episode_steps=200,  # the time limit: an episode that is not over by then is truncated
    reward_threshold=150,  # the mean return that counts as solved
)
