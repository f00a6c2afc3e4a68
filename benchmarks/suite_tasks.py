"""Tasks of the suite that no package has: probes whose best is known, and distorted twins of well-known tasks.

Importing this registers them, under Gymnasium 0.29 and 1.x alike, for ppocli (`--import benchmarks/suite_tasks.py`) and
its peers.
"""

from typing import Any

import gymnasium as gym
import numpy as np

STEPS = 100  # of an episode of an identity task, which pays 1 a step at best


class Identity(gym.Env[Any, Any]):
    """Answer what is observed, drawn anew in each step: 1 for all of it, less for less, as the action space has it."""

    def __init__(self, kind: str, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.action_space = {
            "discrete": gym.spaces.Discrete(5),
            "box": gym.spaces.Box(-1, 1, (1,), np.float32),
            "box3": gym.spaces.Box(-1, 1, (3,), np.float32),
            "multi-discrete": gym.spaces.MultiDiscrete([3, 4]),
            "multi-binary": gym.spaces.MultiBinary(4),
        }[kind]
        self.observation_space = self.action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if isinstance(self.action_space, gym.spaces.Box):  # 0 where it is a whole unit away
            reward = 1 - float(np.abs(action - self.shown).mean())
        else:
            reward = float(np.mean(action == self.shown))
        return self._draw(), reward, False, self.steps == STEPS, {}

    def _draw(self) -> Any:
        rng, space = self.np_random, self.action_space
        if isinstance(space, gym.spaces.Box):
            self.shown = rng.uniform(-1, 1, space.shape).astype(np.float32)
        elif isinstance(space, gym.spaces.Discrete):
            self.shown = int(rng.integers(space.n))
        elif isinstance(space, gym.spaces.MultiDiscrete):
            self.shown = rng.integers(space.nvec)
        else:
            self.shown = rng.integers(0, 2, space.n, dtype=np.int8)
        return self.shown


class Catch(gym.Env[Any, Any]):
    """A ball falls over a board of 20 × 20; the paddle below earns 1 for catching it, and -1 for missing it."""

    SIZE = 20
    observation_space = gym.spaces.Box(0, 1, (3,), np.float32)  # the ball's row and column, the paddle's column
    action_space = gym.spaces.Discrete(3)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.row, self.column, self.paddle = 0, int(self.np_random.integers(self.SIZE)), self.SIZE // 2
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.row += 1
        self.paddle = min(max(self.paddle + int(action) - 1, 0), self.SIZE - 1)
        landed = self.row == self.SIZE - 1
        reward = (1.0 if self.paddle == self.column else -1.0) if landed else 0.0
        return self._obs(), reward, landed, False, {}

    def _obs(self) -> Any:
        return np.array([self.row, self.column, self.paddle], np.float32) / (self.SIZE - 1)


class Reach(gym.Env[Any, Any]):
    """A point in the plane is pushed to a goal within 20 steps; a step costs its distance from there."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (6,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        self.place, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        self.velocity = np.zeros(2)
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.velocity = 0.6 * self.velocity + 0.2 * np.clip(np.asarray(action, float), -1, 1)
        self.place = self.place + self.velocity
        return self._obs(), -float(np.linalg.norm(self.goal - self.place)), False, self.steps == 20, {}

    def _obs(self) -> Any:
        return np.concatenate([self.place, self.velocity, self.goal]).astype(np.float32)


class Distorted(gym.Wrapper[Any, Any, Any, Any]):
    """The same task in other units: rewards and observations scaled and shifted, dimensions added, other bounds."""

    def __init__(
        self,
        env: gym.Env[Any, Any],
        reward_scale: float = 1.0,
        reward_shift: float = 0.0,
        obs_scale: float = 1.0,
        obs_shift: float = 0.0,
        more_dimensions: bool = False,
        action_bounds: tuple[float, float] | None = None,
    ) -> None:
        if action_bounds:
            low, high = (np.full(env.action_space.shape, bound, np.float32) for bound in action_bounds)
            env = gym.wrappers.RescaleAction(env, low, high)
        super().__init__(env)
        self._reward, self._obs, self._more = (reward_scale, reward_shift), (obs_scale, obs_shift), more_dimensions
        shape = env.observation_space.shape
        size = shape[0] + 2 * more_dimensions
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(**options)
        return self._seen(obs), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        scale, shift = self._reward
        return self._seen(obs), float(reward) * scale + shift, terminated, truncated, info

    def _seen(self, obs: Any) -> Any:
        scale, shift = self._obs
        seen = np.asarray(obs, np.float64) * scale + shift
        if self._more:  # a constant, and the first dimension again
            seen = np.concatenate([seen, [7.0 * scale, seen[0]]])
        return seen.astype(np.float32)


DISTORTIONS: dict[str, dict[str, Any]] = {
    "rewards-x1000": {"reward_scale": 1000.0},
    "rewards-x0.001": {"reward_scale": 0.001},
    "rewards-plus-1": {"reward_shift": 1.0},
    "obs-x1000": {"obs_scale": 1000.0, "obs_shift": 3000.0},
    "more-dimensions": {"more_dimensions": True},
    "actions-0.01": {"action_bounds": (-0.01, 0.01)},
    "actions-0-100": {"action_bounds": (0.0, 100.0)},
}


def plain_return(task: str, episode_return: float, length: int) -> float:
    """Return what an episode's return is in the units of the task that `task` is a twin of, if it is one."""
    for name, distortion in DISTORTIONS.items():
        if task.endswith(f"-{name}-v0"):
            return (episode_return - length * distortion.get("reward_shift", 0.0)) / distortion.get("reward_scale", 1.0)
    return episode_return


def newest(name: str) -> str:
    """Return the id of a task's last version in this Gymnasium."""
    return max((id for id in gym.registry if id.startswith(f"{name}-v")), key=lambda id: int(id.rpartition("-v")[2]))


def twin(plain: str, distortion: str, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Return a task in other units."""
    return Distorted(gym.make(newest(plain), render_mode=render_mode), **DISTORTIONS[distortion])


def limited_cliff(render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Return CliffWalking with an end: without one a policy may stand still for ever."""
    return gym.make(newest("CliffWalking"), max_episode_steps=200, render_mode=render_mode)


def register() -> None:
    gym.register("LimitedCliff-v0", f"{__name__}:limited_cliff")
    for kind in ("discrete", "box", "box3", "multi-discrete", "multi-binary"):
        gym.register(f"Identity-{kind}-v0", f"{__name__}:Identity", kwargs={"kind": kind})
    gym.register("Catch-v0", f"{__name__}:Catch")
    gym.register("Reach-v0", f"{__name__}:Reach")
    for plain in ("Pendulum", "CartPole", "LunarLander", "Reach", "Catch", "Identity-box"):
        for distortion in DISTORTIONS:
            kwargs = {"plain": plain, "distortion": distortion}
            gym.register(f"{plain}-{distortion}-v0", f"{__name__}:twin", kwargs=kwargs)


register()
