"""A corridor with a reward at its end alone, `length` cells away.

A sign in each cell, one of four, says which of four actions leads on; the one opposite leads back, the others nowhere.
Chance walks to and fro, and in a long corridor never sees the end before its time is up.
"""

import gymnasium as gym
import numpy as np

SIGNS = 4


class Corridor(gym.Env):
    """Observation: which sign there is, a 1 among 0, and how far the end is, in hundreds of cells."""

    observation_space = gym.spaces.Box(0, 1, (SIGNS + 1,), np.float32)
    action_space = gym.spaces.Discrete(SIGNS)

    def __init__(self, length=10, render_mode=None):
        self.length, self.render_mode = length, render_mode

    def reset(self, *, seed=None, options=None):
        """Begin at the near end."""
        super().reset(seed=seed)
        self.signs = self.np_random.integers(SIGNS, size=self.length)
        self.cell = 0
        return self._obs(), {}

    def step(self, action):
        """Go on, or back, or nowhere."""
        turn = (action - self.signs[self.cell]) % SIGNS
        self.cell = max(0, self.cell + {0: 1, SIGNS // 2: -1}.get(int(turn), 0))
        arrived = self.cell == self.length
        return self._obs(), float(arrived), arrived, False, {}

    def _obs(self):
        sign = self.signs[min(self.cell, self.length - 1)]
        return np.array([*np.eye(SIGNS)[sign], (self.length - self.cell) / 100], np.float32)


gym.register("Corridor-v0", entry_point=Corridor, max_episode_steps=200, reward_threshold=0.95)
