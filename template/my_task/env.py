"""A boat on a round pond is to be moored at the buoy in the middle. Each "Change:" says what makes it another task."""

import math

import gymnasium as gym
import numpy as np

# Change: the rules. Lengths are in radii of the pond, times in seconds.
TIME_STEP = 0.05
THRUST, DRAG = 0.6, 0.6  # what the engine gives, and the water takes, of velocity: the boat glides on for a while
RUDDER, TURNING_DRAG = 4.0, 2.0  # the same of turning
REACH = 0.1  # how near to the buoy the boat can be moored
SLOW = 0.2  # and how slow it must be

SCALE = 140  # pixels to a length
SIDE = 1.1  # how far the picture reaches from the buoy


class MyTask(gym.Env):
    """The boat earns 100 for being moored, and for each radius that it comes nearer; running aground costs 100."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / TIME_STEP)}

    # Change: how many numbers are observed, and bounds that they never leave; what they are stands in _obs.
    observation_space = gym.spaces.Box(-3, 3, (5,), np.float32)

    # Change: what can be done. Here throttle (back, ahead) and rudder (right, left); choices would be a Discrete(n).
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        """Begin an episode."""
        super().reset(seed=seed)  # all chance comes from self.np_random, so that the seed makes the episode
        # Change: how an episode begins.
        distance = self.np_random.uniform(0.6, 0.9)
        bearing, self.heading = self.np_random.uniform(-math.pi, math.pi, 2).tolist()
        self.x, self.y = distance * math.cos(bearing), distance * math.sin(bearing)
        self.velocity_x, self.velocity_y, self.turning = 0.0, 0.0, 0.0
        self.wake = [(self.x, self.y)]
        return self._obs(), {}

    def step(self, action):
        """Let a time step pass."""
        # Change: what an action does. Plain floats are several times as fast as arrays of two numbers.
        throttle, rudder = (min(max(float(number), -1.0), 1.0) for number in action)
        before = math.hypot(self.x, self.y)
        self.turning += TIME_STEP * (RUDDER * rudder - TURNING_DRAG * self.turning)
        self.heading += TIME_STEP * self.turning
        self.velocity_x += TIME_STEP * (THRUST * throttle * math.cos(self.heading) - DRAG * self.velocity_x)
        self.velocity_y += TIME_STEP * (THRUST * throttle * math.sin(self.heading) - DRAG * self.velocity_y)
        self.x += TIME_STEP * self.velocity_x
        self.y += TIME_STEP * self.velocity_y
        self.wake.append((self.x, self.y))

        # Change: when it ends. The time limit is none of it, and is set where the task is registered.
        distance = math.hypot(self.x, self.y)
        moored = distance < REACH and math.hypot(self.velocity_x, self.velocity_y) < SLOW
        aground = distance > 1
        # Change: what is rewarded.
        reward = 100.0 * (before - distance + moored - aground)
        return self._obs(), reward, moored or aground, False, {"is_success": moored}

    def render(self):
        """Return a picture: rows of pixels, each red, green and blue from 0 to 255."""
        # Change: the picture, which is painted in discs from the back to the front.
        picture = np.full((round(2 * SIDE * SCALE), round(2 * SIDE * SCALE), 3), (116, 158, 92), np.float32)
        paint(picture, 0, 0, 1.04, (214, 200, 150))
        paint(picture, 0, 0, 1, (58, 128, 178))
        paint(picture, 0, 0, REACH, (84, 152, 198))
        for age, (x, y) in enumerate(self.wake[:-60:-5]):
            paint(picture, x, y, 0.04 - 0.003 * age, (150, 196, 224))
        paint(picture, 0, 0, 0.04, (226, 64, 48))
        paint(picture, 0, 0, 0.018, (255, 255, 255))
        for ahead in np.linspace(-0.05, 0.08, 8):
            x, y = self.x + ahead * math.cos(self.heading), self.y + ahead * math.sin(self.heading)
            paint(picture, x, y, 0.045 - 0.3 * max(ahead, 0), (250, 246, 236))
        paint(picture, self.x, self.y, 0.022, (122, 78, 48))
        return picture.astype(np.uint8)

    def _obs(self):
        """Return what the boat sees from where it is: the buoy, ahead and to the left; how it moves, and turns."""
        # Change: what is observed. A policy without memory needs all here that the next step depends on.
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        return np.array(
            [
                -self.x * cos - self.y * sin,
                self.x * sin - self.y * cos,
                self.velocity_x * cos + self.velocity_y * sin,
                self.velocity_y * cos - self.velocity_x * sin,
                self.turning,
            ],
            np.float32,
        )


def paint(picture, x, y, radius, colour):
    """Paint a disc with a soft edge."""
    x, y, radius = (SIDE + x) * SCALE, (SIDE - y) * SCALE, radius * SCALE  # in pixels, from the upper left
    top, left = max(int(y - radius), 0), max(int(x - radius), 0)
    part = picture[top : int(y + radius) + 2, left : int(x + radius) + 2]
    rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    inside = np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1)[..., None]
    part += inside * (np.array(colour) - part)
