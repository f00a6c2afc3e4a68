"""A T-maze: a sign at its entrance, a long corridor, and two ways at its end, of which the sign has told the right one.

    ppocli train --config examples/tmaze.yaml --import examples/tmaze.py

What an agent sees at the end is the same whatever the sign was. So one that acts upon what it sees now is right half of
the time, however it acts, and only one that remembers the sign does better.
"""

from typing import Any

import gymnasium as gym
import numpy as np


class TMaze(gym.Env[Any, Any]):
    """Walks by itself, `shortest` to `longest` steps from the sign to the end; what was done there pays 1 or 0."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)  # the sign, where there is one; whether this is the end
    action_space = gym.spaces.Discrete(2)  # left, right

    def __init__(self, shortest: int = 1, longest: int = 60, render_mode: str | None = None) -> None:
        self.shortest, self.longest = shortest, longest
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Put up a sign at a distance, both drawn."""
        super().reset(seed=seed)
        self.right = bool(self.np_random.integers(2))
        self.left_to_go = int(self.np_random.integers(self.shortest, self.longest + 1))
        return np.array([1 if self.right else -1, 0], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Walk a step, or turn where it ends."""
        if self.left_to_go:
            self.left_to_go -= 1
            return np.array([0, self.left_to_go == 0], np.float32), 0.0, False, False, {}
        return np.zeros(2, np.float32), float(action == self.right), True, False, {}


gym.register("TMaze-v0", TMaze, max_episode_steps=1000)
