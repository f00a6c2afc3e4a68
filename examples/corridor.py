"""A corridor with a reward at its end alone, `length` cells away.

A sign in each cell, one of eight, says which of eight actions leads on; the one opposite leads back, others nowhere.
Chance walks to and fro, and in a long corridor never sees the end before its time is up.
"""

import gymnasium as gym
import numpy as np

SIGNS = 8


class Corridor(gym.Env):
    """Observation: which sign there is, a 1 among 0."""

    observation_space = gym.spaces.Box(0, 1, (SIGNS,), np.float32)
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
        return np.eye(SIGNS, dtype=np.float32)[sign]


class Corridors(gym.vector.VectorEnv):
    """Many corridors at once, each as the single one with the same seed: for `env.backend: vector`."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.DISABLED}  # noqa: RUF012
    single_observation_space, single_action_space = Corridor.observation_space, Corridor.action_space

    def __init__(self, num_envs, length=10, max_episode_steps=200):
        self.num_envs, self.length, self.max_episode_steps = num_envs, length, max_episode_steps
        self.signs = np.zeros((num_envs, length + 1), int)  # behind the end as in the last cell
        self.cells, self.steps = np.zeros((2, num_envs), int)

    def reset(self, *, seed=None, options=None):
        """Begin at the near end where the mask says so, each with its seed."""
        for index in np.flatnonzero((options or {}).get("reset_mask", np.ones(self.num_envs, bool))):
            generator, _ = gym.utils.seeding.np_random(seed[index] if seed else None)
            signs = generator.integers(SIGNS, size=self.length)
            self.signs[index], self.cells[index], self.steps[index] = [*signs, signs[-1]], 0, 0
        return self._obs(), {}

    def step(self, actions):
        """Go on, or back, or nowhere, everywhere."""
        turns = (actions - self._signs()) % SIGNS
        self.cells = np.clip(self.cells + (turns == 0) - (turns == SIGNS // 2), 0, self.length)
        self.steps += 1
        arrived = self.cells == self.length
        return self._obs(), arrived.astype(float), arrived, self.steps >= self.max_episode_steps, {}

    def _signs(self):
        return self.signs[np.arange(self.num_envs), self.cells]

    def _obs(self):
        return np.eye(SIGNS, dtype=np.float32)[self._signs()]


gym.register("Corridor-v0", Corridor, vector_entry_point=Corridors, max_episode_steps=200, reward_threshold=0.95)
