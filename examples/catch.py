"""A ball falls past a camera, and a paddle below is to be there in time: a picture and a number in one observation.

The camera does not see the paddle, and a sensor says where that is but nothing of the ball: it takes both, `sees:
both`, the default; `camera` and `paddle` are each alone.
"""

import gymnasium as gym
import numpy as np

CELLS, PIXELS = 8, 5  # of the field, and of a cell, each way


class Catch(gym.Env):
    """The paddle goes left, stays or goes right; the reward is 1 where it has caught the ball in the end."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012
    action_space = gym.spaces.Discrete(3)

    def __init__(self, sees="both", render_mode=None):
        self.sees, self.render_mode = sees, render_mode
        camera = gym.spaces.Box(0, 255, (CELLS * PIXELS, CELLS * PIXELS), np.uint8)
        paddle = gym.spaces.Box(0, 1, (1,), np.float32)
        both = gym.spaces.Dict(camera=camera, paddle=paddle)
        self.observation_space = {"both": both, "camera": camera, "paddle": paddle}[sees]

    def reset(self, *, seed=None, options=None):
        """Drop the ball, the paddle being anywhere."""
        super().reset(seed=seed)
        self.ball, self.paddle = self.np_random.integers(CELLS, size=2)
        self.height = CELLS - 1
        return self._obs(), {}

    def step(self, action):
        """Move the paddle; the ball falls by a cell."""
        self.paddle = np.clip(self.paddle + action - 1, 0, CELLS - 1)
        self.height -= 1
        landed = self.height == 0
        return self._obs(), float(landed and self.ball == self.paddle), landed, False, {}

    def render(self):
        """Show both."""
        field = self._field()
        field[-1, self.paddle] = 120
        return np.repeat(field.repeat(40, 0).repeat(40, 1)[:, :, None], 3, axis=2)

    def _field(self):
        field = np.zeros((CELLS, CELLS), np.uint8)
        field[CELLS - 1 - self.height, self.ball] = 255
        return field

    def _obs(self):
        camera = self._field().repeat(PIXELS, 0).repeat(PIXELS, 1)
        paddle = np.array([self.paddle / (CELLS - 1)], np.float32)
        return {"both": {"camera": camera, "paddle": paddle}, "camera": camera, "paddle": paddle}[self.sees]


gym.register("CameraCatch-v0", Catch, reward_threshold=0.95)
