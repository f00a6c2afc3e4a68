"""CartPole-v1 with Gymnasium's own vectorised dynamics: all poles in one NumPy expression."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv as Dynamics
from numpy.typing import NDArray

from ppocli.config.sections import EnvConfig
from ppocli.envs.api import ActionSpec, Discrete, ObsSpec, Step, Vector


class CartPoleVectorEnv:
    """N environments that do, bit for bit, what `gymnasium.make("CartPole-v1")` does.

    Only the motion and the time limit are Gymnasium's: its vector environment starts episodes from one generator.
    """

    env_id = "CartPole-v1"
    obs_spec: ObsSpec = Vector(4)
    action_spec: ActionSpec = Discrete(2)
    info_keys: tuple[str, ...] = ()
    limit_is_assumed = False
    reward_threshold = gym.spec(env_id).reward_threshold

    @staticmethod
    def covers(config: EnvConfig) -> bool:
        """Whether this is the environment that `config` describes."""
        return config.id == CartPoleVectorEnv.env_id and not config.kwargs and not config.wrappers

    def __init__(self, num_envs: int, max_episode_steps: int | None = None) -> None:
        self.num_envs = num_envs
        self._dynamics: Any = Dynamics(num_envs)  # its state is (4, N): position, velocity, angle, angular velocity
        if max_episode_steps is not None:
            self._dynamics.max_episode_steps = max_episode_steps
        self.episode_limit: int = self._dynamics.max_episode_steps
        self._dynamics.reset()
        self._playing = np.zeros(num_envs, dtype=bool)

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> NDArray[Any]:
        state = self._dynamics.state
        for index, seed in zip(indices, seeds, strict=True):
            rng, _ = gym.utils.seeding.np_random(seed)
            state[:, index] = rng.uniform(-0.05, 0.05, size=4)  # as `reset` of Gymnasium's single environment does
        self._dynamics.steps[list(indices)] = 0
        self._playing[list(indices)] = True
        return np.asarray(state.T, np.float32)

    def step(self, actions: NDArray[Any]) -> Step:
        waiting = np.flatnonzero(~self._playing)
        waiting_states = self._dynamics.state[:, waiting]
        _, paid, terminated, truncated, _ = self._dynamics.step(actions)
        self._dynamics.prev_done[:] = False  # or it would start these episodes anew with the next step
        state = self._dynamics.state
        state[:, waiting] = waiting_states
        terminated, truncated = terminated & self._playing, truncated & self._playing
        rewards = np.where(self._playing, paid.astype(np.float64), 0)
        self._playing &= ~(terminated | truncated)
        return Step(state.T.astype(np.float32), rewards, terminated, truncated)

    def close(self) -> None:
        """See `VectorEnv.close`."""
