"""Environments whose every number is known beforehand."""

import copy
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np


class Counting(gym.Env[Any, Any]):
    """The observation is (steps since reset, seed mod 1000), a step's reward its number; it ends after `length`."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int = 3, render_mode: str | None = None) -> None:
        self.length = length
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        assert seed is not None
        self.seed_mark = seed % 1000
        self.steps = 0
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.steps += 1
        return self._obs(), float(self.steps), self.steps == self.length, False, {}

    def _obs(self) -> Any:
        return np.array([self.steps, self.seed_mark], dtype=np.float32)


class Probe(gym.Env[Any, Any]):
    """A task so small that only one thing can go wrong: `kind` says which."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, kind: str, render_mode: str | None = None) -> None:
        self.kind = kind
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        varied = self.kind in ("value-from-obs", "reward-from-obs-and-action")
        self.state = float(self.np_random.choice([-1.0, 1.0])) if varied else 0.0
        return np.array([self.state], dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        sign = 1.0 if action == 1 else -1.0
        match self.kind:
            case "constant-reward":
                reward, ended = 1.0, True
            case "value-from-obs":
                reward, ended = self.state, True
            case "discounting":
                # Two steps: from 0 to 1, where the only reward is paid.
                reward, ended = (0.0, False) if self.steps == 1 else (1.0, True)
                self.state = 1.0
            case "reward-from-action":
                reward, ended = sign, True
            case "reward-from-obs-and-action":
                reward, ended = sign * self.state, True
        return np.array([self.state], dtype=np.float32), reward, ended, False, {}


class Shifted(gym.Env[Any, Any]):
    """A (2, 2) observation and actions that start at 5."""

    observation_space = gym.spaces.Box(0, 1, (2, 2), np.float64)
    action_space = gym.spaces.Discrete(2, start=5)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.array([[0.1, 0.2], [0.3, 0.4]]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in (5, 6)
        return np.array([[0.5, 0.6], [0.7, 0.8]]), float(action), False, False, {}


class Exploding(Counting):
    """A reward that is soon too large for a float32, so that the loss is no longer finite."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, _, terminated, truncated, info = super().step(action)
        return obs, 1e38, terminated, truncated, info


class Moody(Counting):
    """One whose episodes depend on how many there were before, anywhere: no seed brings them back."""

    episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        Moody.episodes += 1
        return super().reset(seed=seed)

    def _obs(self) -> Any:
        return np.array([self.steps, Moody.episodes], dtype=np.float32)


class Informed(Counting):
    """It tells how it went, in numbers of several kinds and a word."""

    def step(self, action: Any) -> Any:
        *others, _ = super().step(action)
        return *others, {"is_success": np.bool_(True), "height": np.array(2.5), "name": "peak"}


class Chance(Counting):
    """Its rewards are NumPy's global random numbers, which no seed of an episode brings back."""

    def step(self, action: Any) -> Any:
        obs, _, *others = super().step(action)
        return obs, np.random.random(), *others


class Broken(Counting):
    """One that fails in its second step, in the way that `how` says."""

    def __init__(self, how: str, render_mode: str | None = None) -> None:
        super().__init__(length=10)
        self.how = how

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        obs, info = super().reset(seed=seed)
        return obs * np.nan if self.how == "first observation" else obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = super().step(action)
        if self.steps == 2:
            match self.how:
                case "observation":
                    obs[1] = np.inf
                case "large observation":
                    obs[1] = 1e30
                case "reward":
                    reward = np.nan
                case "large reward":
                    reward = -1e39
                case "error":
                    raise ValueError("the motor is on fire")
        return obs, reward, terminated, truncated, info


class Unbuilt(Counting):
    """An environment whose own package is not installed."""

    def __init__(self, render_mode: str | None = None) -> None:
        raise gym.error.DependencyNotInstalled("the package of Unbuilt is not installed")


class Unimportable(Counting):
    """One that does not even say so properly."""

    def __init__(self, render_mode: str | None = None) -> None:
        raise ModuleNotFoundError("No module named 'unimportable'")


class Speaking(Counting):
    """One that speaks, which nobody here understands."""

    observation_space = gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Text(5)])


class Spoken(Counting):
    """One that wants to be spoken to."""

    action_space = gym.spaces.Sequence(gym.spaces.Discrete(2))


class Echo(gym.Env[Any, Any]):
    """Any spaces: `kind` names them. Observations are drawn from their space; what was last done is in `done`."""

    SPACES: ClassVar = {
        "multi-discrete": (gym.spaces.Discrete(3, start=-1), gym.spaces.MultiDiscrete([[2, 3], [4, 2]])),
        "multi-discrete-start": (gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiDiscrete([2, 3], start=[5, -1])),
        "multi-binary": (gym.spaces.MultiBinary(3), gym.spaces.MultiBinary((2, 2))),
        "box": (
            gym.spaces.Dict(there=gym.spaces.Box(-1, 1, (2,)), here=gym.spaces.Discrete(2)),
            gym.spaces.Box(np.array([[-1, 0], [-3, -np.inf]]), np.array([[1, 4], [np.inf, np.inf]]), dtype=np.float64),
        ),
        "whole-numbers": (
            gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.MultiBinary(2)]),
            gym.spaces.Box(0, 10, (1,), np.int32),
        ),
    }

    def __init__(self, kind: str, render_mode: str | None = None) -> None:
        # Its own, as episodes are to depend on nothing but their seeds: spaces draw from a generator that they hold.
        self.observation_space, self.action_space = copy.deepcopy(self.SPACES[kind])
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.done: list[Any] = []
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.done.append(action)
        return self.observation_space.sample(), 1.0, len(self.done) == 20, False, {}


class Gated(Counting):
    """A choice whose turn it is, by steps and seed, is forbidden, and not survived; `how` is how the others are told.

    "method", "info"; "parts" has two choices in an action, and a mask for each; of what is wrong, "nothing" allows
    nothing in the second step, "short" has a number too few, "half" is not sure, "silent" says nothing after the reset.
    "over" is a method that knows no answer once the episode is over.
    """

    def __init__(self, how: str = "info", length: int = 20, render_mode: str | None = None) -> None:
        super().__init__(length, render_mode)
        self.how, self.choices = how, (2, 3) if how == "parts" else (4,)
        self.action_space = gym.spaces.MultiDiscrete([2, 3]) if how == "parts" else gym.spaces.Discrete(4)
        if how in ("method", "over"):
            self.action_masks = self.mask

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        obs, _ = super().reset(seed=seed)
        return obs, self.told()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        for part, mask in zip(np.ravel(action), self.masks(), strict=True):
            assert mask[part], "forbidden"
        obs, reward, *ended, _ = super().step(action)
        return obs, reward, *ended, {} if self.how == "silent" else self.told()

    def masks(self) -> list[Any]:
        turn = self.steps + self.seed_mark
        return [np.arange(choices) != turn % choices for choices in self.choices]

    def mask(self) -> Any:
        assert self.how != "over" or self.steps < self.length, "the game is over"
        return [bool(allowed) for allowed in self.masks()[0]]

    def told(self) -> dict[str, Any]:
        mask = self.masks()[0].astype(np.int8)
        match self.how:
            case "method" | "over":
                return {}
            case "parts":
                return {"action_mask": tuple(self.masks())}
            case "nothing" if self.steps == 2:
                mask[:] = 0
            case "short":
                mask = mask[1:]
            case "half":
                mask = mask * 0.5
        return {"action_mask": mask}


def side_by_side(env_id: str, num_envs: int, mode: str = "DISABLED", **kwargs: Any) -> gym.vector.VectorEnv:
    """Gymnasium's own vector of an environment, as what a package brings as its vectorised form."""
    kwargs.pop("max_episode_steps", None)  # which is in the registration of each
    copies = [lambda: gym.make(env_id, disable_env_checker=True, **kwargs)] * num_envs
    return gym.vector.SyncVectorEnv(copies, autoreset_mode=gym.vector.AutoresetMode[mode])


def register() -> None:
    """Make the environments known to Gymnasium."""
    gym.register("Counting-v0", Counting)
    gym.register("Truncated-v0", Counting, kwargs={"length": 100}, max_episode_steps=3)
    gym.register("Probe-v0", Probe)
    gym.register("Shifted-v0", Shifted)
    gym.register("Exploding-v0", Exploding)
    gym.register("Speaking-v0", Speaking)
    gym.register("Spoken-v0", Spoken)
    gym.register("Echo-v0", Echo)
    gym.register("Moody-v0", Moody)
    gym.register("Broken-v0", Broken)
    gym.register("Chance-v0", Chance)
    gym.register("Informed-v0", Informed)
    gym.register("Gated-v0", Gated)
    for env_id in ("LunarLander-v3", "Taxi-v4", "Echo-v0", "Gated-v0", "Informed-v0"):
        own, form = f"Together{env_id}", partial(side_by_side, env_id)
        spec = gym.spec(env_id)
        limit = spec.max_episode_steps
        gym.register(own, spec.entry_point, kwargs=spec.kwargs, max_episode_steps=limit, vector_entry_point=form)
    gym.register("Resetting-v0", Counting, vector_entry_point=partial(side_by_side, "Counting-v0", mode="NEXT_STEP"))
    gym.register("Unbuilt-v0", Unbuilt)
    gym.register("Unimportable-v0", Unimportable)
