"""The backend `vector`, which steps an environment's own vectorised form: here Gymnasium's vector of single ones."""

from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest

import examples.corridor  # noqa: F401 - registers Corridor-v0
from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Vector
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import make_environments
from ppocli.envs.masks import draw
from ppocli.envs.vector import OwnVectorEnv
from ppocli.errors import PpocliError, PpocliWarning, UsageError

TASKS = [
    {"id": "TogetherLunarLander-v3"},
    {"id": "TogetherTaxi-v4", "max_episode_steps": 30},
    {"id": "TogetherEcho-v0", "kwargs": {"kind": "box"}},
    {"id": "TogetherEcho-v0", "kwargs": {"kind": "multi-discrete"}},
    {"id": "TogetherGated-v0", "kwargs": {"how": "info"}},
    {"id": "TogetherGated-v0", "kwargs": {"how": "parts"}},
    {"id": "TogetherGated-v0", "kwargs": {"how": "silent", "length": 1}},
    {"id": "Corridor-v0", "kwargs": {"length": 5}, "max_episode_steps": 20},
    {"id": "TogetherInformed-v0", "info_keys": ["is_success", "height", "missing"]},
]


def seen_in(envs, num_steps=60):
    """What three environments show and pay, of which one begins later, and some wait before they begin anew."""
    rng, spec = np.random.default_rng(0), envs.action_spec
    begun, waiting = [0, 2], [1]
    obs = envs.reset(begun, [5, 6])
    seen = [obs[begun]]
    for count in range(num_steps):
        step = envs.step(np.array([draw(spec, row[envs.obs_spec.size :], rng) for row in obs], spec.dtype))
        seen += [values[begun] for values in step]
        waiting += np.flatnonzero(step.terminated | step.truncated).tolist()
        obs = step.obs
        if waiting and count % 3 == 1:
            obs = envs.reset(waiting, [count + index for index in waiting])
            begun, waiting = sorted({*begun, *waiting}), []
            seen.append(obs[begun])
    return seen


@pytest.mark.parametrize(
    "task", TASKS, ids=lambda task: "-".join([task["id"], *map(str, task.get("kwargs", {}).values())])
)
def test_it_shows_and_pays_what_single_environments_do(task):
    config = EnvConfig(**task)
    with closing(OwnVectorEnv(config, 3)) as together, closing(GymnasiumVectorEnv(config, 3)) as apart:
        assert (together.obs_spec, together.action_spec) == (apart.obs_spec, apart.action_spec)
        assert (together.episode_limit, together.limit_is_assumed) == (apart.episode_limit, apart.limit_is_assumed)
        for one, other in zip(seen_in(together), seen_in(apart), strict=True):
            np.testing.assert_array_equal(one, other)


class Wrong(gym.vector.VectorEnv):
    """One that does by `fault` what it should not."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.DISABLED}  # noqa: RUF012
    single_observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    single_action_space = gym.spaces.Discrete(2)

    def __init__(self, num_envs, fault=""):
        self.num_envs, self.fault = num_envs, fault
        self.rng = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        obs = np.zeros((self.num_envs, 3 if self.fault == "shape" else 2), np.float32)
        if self.fault == "unseeded":
            obs += self.rng.uniform(size=obs.shape)
        return obs, {}

    def step(self, actions):
        if self.fault == "raises":
            raise ValueError("out of order")
        rewards = {"one reward": 1.0, "words": np.array(["1"] * self.num_envs)}.get(self.fault, np.ones(self.num_envs))
        return np.zeros((self.num_envs, 2), np.float32), rewards, *np.zeros((2, self.num_envs), bool), {}


class Single(gym.Env):
    observation_space, action_space = Wrong.single_observation_space, Wrong.single_action_space

    def __init__(self, fault="", render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 1.0, False, False, {}


@pytest.fixture(autouse=True)
def wrong():
    gym.register("Wrong-v0", Single, vector_entry_point=Wrong)
    yield
    del gym.registry["Wrong-v0"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("shape", r"Wrong-v0: its observations are an array \(2, 3\) of float32, and its single_observation_space Box"),
        ("raises", r"Wrong-v0: ValueError: out of order \(test_vector.py:\d+, in step\), in step\(\) of all 2 copies"),
        ("one reward", r"its rewards are 1.0 of shape \(\), and not one for each of 2 \(test_vector.py:\d+, step\)"),
        ("words", r"its rewards are an array \(2,\) of <U1, and not one for each of 2"),
    ],
)
def test_what_it_gives_wrongly_is_named(fault, said):
    envs = OwnVectorEnv(EnvConfig(id="Wrong-v0", kwargs={"fault": "" if fault == "shape" else fault}), 2)
    envs._envs.fault = fault
    with pytest.raises(PpocliError, match=said):  # noqa: PT012 - either may
        envs.reset([0, 1], [0, 1])
        envs.step(np.array([0, 1]))


def test_episodes_without_a_limit_are_truncated(monkeypatch):
    monkeypatch.setattr("ppocli.envs.vector.ASSUMED_LIMIT", 3)
    envs = OwnVectorEnv(EnvConfig(id="Wrong-v0"), 2)
    envs.reset([0], [0])
    assert [envs.step(np.array([0, 0])).truncated.tolist() for _ in range(4)] == [[False] * 2] * 2 + [
        [True, False],
        [False] * 2,
    ]


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        (
            "Pendulum-v1",
            "env.backend: vector: Pendulum-v1: Cannot create vectorized environment for Pendulum-v1 because",
        ),
        ("Resetting-v0", "Resetting-v0 has the autoreset mode NEXT_STEP, and is to have DISABLED and begin anew whom"),
        ("CartPole-v1", "CartPole-v1 has the autoreset mode NEXT_STEP"),
    ],
)
def test_an_environment_without_such_a_form_is_refused(env_id, said):
    with pytest.raises(UsageError, match=said):
        OwnVectorEnv(EnvConfig(id=env_id), 2)


def test_it_does_not_take_its_arguments():
    with pytest.raises(
        PpocliError, match=r"got an unexpected keyword argument 'wings'.*, when 2 copies were made at once"
    ):
        OwnVectorEnv(EnvConfig(id="Wrong-v0", kwargs={"wings": 2}), 2)


def test_one_whose_episodes_do_not_depend_on_their_seeds_is_warned_of():
    config = Config.model_validate({"env": {"id": "Wrong-v0", "backend": "vector", "kwargs": {"fault": "unseeded"}}})
    with pytest.warns(PpocliWarning, match="Wrong-v0: an episode depends on more than its seed"):
        make_environments(config).close()


def test_wrappers_have_nothing_to_go_around():
    env = {"id": "Wrong-v0", "backend": "vector", "wrappers": [{"id": "ClipReward", "max_reward": 1}]}
    with pytest.raises(
        ValueError, match=r"env.wrappers: go around single environments, which env.backend: vector has not"
    ):
        Config.model_validate({"env": env})


class Telling(Wrong):
    """It says by a method what is allowed, in the infos of which copies a height is known, and keeps its numbers."""

    def __init__(self, num_envs, heights):
        super().__init__(num_envs)
        self.height = heights.pop()

    def action_masks(self):
        return np.array([[1, 0]] * self.num_envs)

    def step(self, actions):
        obs, rewards, _, truncated, _ = super().step(actions)
        known = np.arange(self.num_envs) == 0
        infos = {"height": np.where(known, self.height, 0.0), "_height": known}
        return obs + 1, rewards, np.ones(self.num_envs, bool), truncated, infos


@pytest.fixture
def telling():
    gym.register("Telling-v0", Single, vector_entry_point=Telling)
    config = EnvConfig(id="Telling-v0", kwargs={"heights": [2.5]}, info_keys=["height"])
    with closing(OwnVectorEnv(config, 2)) as envs:
        yield config, envs
    del gym.registry["Telling-v0"]


def test_a_method_may_say_what_is_allowed(telling):
    _, envs = telling
    assert envs.reset([0, 1], [0, 1]).tolist() == [[0, 0, 1, 0]] * 2


def test_infos_that_only_some_copies_give_are_those_of_these(telling):
    _, envs = telling
    envs.reset([0, 1], [0, 1])
    np.testing.assert_array_equal(envs.step(np.array([0, 0])).infos, [[2.5], [np.nan]])


def test_what_is_handed_out_and_what_is_taken_does_not_change(telling):
    config, envs = telling
    assert config.kwargs == {"heights": [2.5]}
    envs.reset([0], [0])
    actions = np.array([0, 1])
    first = envs.step(actions).obs
    assert actions.tolist() == [0, 1]  # though the unseen one is not allowed it
    envs.reset([0], [1])
    assert first[0].tolist() == [1, 1, 1, 1]


def test_a_config_may_leave_masks_out():
    config = EnvConfig(id="TogetherGated-v0", action_masks=False)
    with closing(OwnVectorEnv(config, 2)) as envs:
        assert envs.obs_spec == Vector(2)


def test_it_is_told_its_limit():
    with closing(OwnVectorEnv(EnvConfig(id="Corridor-v0", max_episode_steps=7), 2)) as envs:
        assert envs._envs.max_episode_steps == 7


def test_one_that_is_refused_is_closed(monkeypatch):
    closed = []
    monkeypatch.setattr(Wrong, "metadata", {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP})
    monkeypatch.setattr(Wrong, "close_extras", lambda envs, **_: closed.append(envs.num_envs))
    with pytest.raises(UsageError, match="has the autoreset mode SAME_STEP"):
        OwnVectorEnv(EnvConfig(id="Wrong-v0"), 2)
    assert closed == [2]
