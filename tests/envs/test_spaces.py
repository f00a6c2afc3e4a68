"""Spaces to vectors and back, against numbers worked out by hand and against Gymnasium's own `contains`."""

from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest

from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.envs import spaces
from ppocli.envs.api import Continuous, Discrete, MultiDiscrete, Vector
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import evaluation_envs
from ppocli.errors import PpocliWarning
from ppocli.evaluation.play import evaluate, random
from ppocli.guests import UnexpectedError
from ppocli.records.run import Run
from tests.environments import Echo
from tests.jobs import train

KINDS = list(Echo.SPACES)


def flat(space, obs):
    spec, flatten = spaces.observations("X-v0", space)
    vector = flatten(obs)
    assert vector.shape == spec.shape
    return vector.tolist()


def test_observations_by_hand():
    box, three = gym.spaces.Box(-9, 9, (2, 2)), gym.spaces.Discrete(3, start=-1)
    assert flat(box, np.array([[1.0, 2.0], [3.0, 4.0]])) == [1, 2, 3, 4]
    assert flat(three, -1) == [1, 0, 0]
    assert flat(gym.spaces.MultiBinary(3), np.array([1, 0, 1])) == [1, 0, 1]
    assert flat(gym.spaces.MultiDiscrete([2, 3]), np.array([1, 0])) == [0, 1, 1, 0, 0]
    assert flat(gym.spaces.Tuple([three, gym.spaces.MultiBinary(2)]), (1, np.array([0, 1]))) == [0, 0, 1, 0, 1]
    # in the order of the space, whatever the order of the observation
    assert flat(gym.spaces.Dict(b=three, a=box), {"a": np.ones((2, 2)), "b": 0}) == [0, 1, 0, 1, 1, 1, 1]


def test_choices():
    spec, to_env = spaces.actions("X-v0", gym.spaces.Discrete(3, start=5))
    assert (spec, to_env(np.array([0, 2])).tolist()) == (Discrete(3), [5, 7])
    spec, to_env = spaces.actions("X-v0", gym.spaces.MultiDiscrete([2, 3], start=[5, -1]))
    assert (spec, to_env(np.array([[0, 0], [1, 2]])).tolist()) == (MultiDiscrete((2, 3)), [[5, -1], [6, 1]])
    spec, to_env = spaces.actions("X-v0", gym.spaces.MultiBinary((2, 2)))
    assert (spec, to_env(np.array([[0, 1, 1, 0]])).tolist()) == (MultiDiscrete((2,) * 4), [[[0, 1], [1, 0]]])


def test_a_box_whatever_its_bounds():
    low, high = np.array([-2, 0, -np.inf, -3, -np.inf]), np.array([2, 10, np.inf, np.inf, 3])
    spec, to_env = spaces.actions("X-v0", gym.spaces.Box(low, high, dtype=np.float64))
    assert spec == Continuous((True, True, False, False, False))
    # −1 … 1 is the whole of bounded dimensions, and is clipped there; others stand for themselves, within one bound
    assert to_env(np.array([[0.5, -0.5, 7, 7, 7]])).tolist() == [[1, 2.5, 7, 7, 3]]
    assert to_env(np.array([[-4, 4, -7, -7, -7]])).tolist() == [[-2, 10, -7, -3, -7]]


def test_a_box_of_whole_numbers():
    _, to_env = spaces.actions("X-v0", gym.spaces.Box(0, 10, (2,), np.int32))
    mapped = to_env(np.array([[-1.0, 0.11], [1.5, -0.09]]))
    assert (mapped.dtype, mapped.tolist()) == (np.int32, [[0, 6], [10, 5]])


@pytest.mark.parametrize("kind", KINDS)
def test_every_random_action_is_one_of_the_space(kind):
    """`Echo` refuses any other."""
    envs = evaluation_envs(EnvConfig(id="Echo-v0", kwargs={"kind": kind}, workers=0))
    episodes = evaluate(envs, random(envs.action_spec, envs.obs_spec), list(range(30)))
    assert [episode.episode_return for episode in episodes] == [20] * 30


def test_random_actions_fill_the_whole_space():
    envs = GymnasiumVectorEnv(EnvConfig(id="Echo-v0", kwargs={"kind": "box"}), 1)
    rng = np.random.default_rng(0)
    policy = random(envs.action_spec, envs.obs_spec)
    drawn = np.array([policy(np.zeros((1, 4), np.float32), None, [rng])[0][0] for _ in range(4000)])
    bounded, free = drawn[:, :2], drawn[:, 2:]
    np.testing.assert_allclose(bounded.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(bounded.std(0), 1 / np.sqrt(3), atol=0.03)  # of a uniform distribution on −1 … 1
    np.testing.assert_allclose(free.std(0), 1, atol=0.06)
    multi = random(MultiDiscrete((2, 3)), Vector(4))
    drawn = np.array([multi(np.zeros((1, 4), np.float32), None, [rng])[0][0] for _ in range(3000)])
    np.testing.assert_allclose(np.bincount(drawn[:, 1]) / 3000, 1 / 3, atol=0.04)


TASKS = [("Echo-v0", {"kind": kind}) for kind in KINDS] + [
    *((env_id, {}) for env_id in ("Taxi-v4", "FrozenLake-v1", "Blackjack-v1", "Pendulum-v1", "BipedalWalker-v3")),
    ("CliffWalking-v1", {}),
    ("LunarLander-v3", {"continuous": True}),
]


@pytest.mark.parametrize(("env_id", "kwargs"), TASKS, ids=str)
def test_each_kind_of_space_trains(env_id, kwargs, tmp_path):
    config = Config.model_validate(
        {
            "env": {"id": env_id, "kwargs": kwargs, "num_envs": 2, "workers": 0},
            "network": {"hidden_sizes": [8], "normalize_obs": True},
            "rollout": {"horizon": 32, "normalize_rewards": True},
            "update": {"minibatch_size": 32},
            "train": {"env_steps": 128, "eval_episodes": 1, "target_return": 1e9},
        }
    )
    with closing(train(config, Run(tmp_path / "run"))) as training:
        assert next(training).progress.env_steps == 64


@pytest.mark.parametrize(
    ("space", "obs", "given"),
    [
        (gym.spaces.Box(0, 1, (2,)), 0.5, r"0\.5 of shape \(\)"),  # and not the same number twice
        (gym.spaces.Box(0, 1, (2,)), np.zeros(1), r"an array \(1,\) of float64"),
        (gym.spaces.Box(0, 1, (2,)), np.zeros(3), r"an array \(3,\) of float64"),
        (gym.spaces.Box(0, 1, (2,)), [None, None], r"\[None, None\]"),
        (gym.spaces.Box(0, 1, (2,)), ["1", "2"], r"\['1', '2'\]"),
        (gym.spaces.Discrete(3), 3, "3 of shape"),
        (gym.spaces.Discrete(3), -1, "-1 of shape"),  # and not the last one
        (gym.spaces.Discrete(3, start=5), 4, "4 of shape"),
        (gym.spaces.Discrete(3), 0.5, r"0\.5 of shape"),
        (gym.spaces.MultiDiscrete([2, 3]), np.array([1, 3]), r"an array \(2,\) of int64"),
        (gym.spaces.Dict(a=gym.spaces.Discrete(2), b=gym.spaces.Discrete(2)), {"a": 1}, r"\{'a': 1\}"),
        (gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Discrete(2)]), (1,), r"\(1,\)"),
    ],
)
def test_what_is_no_observation_of_its_space_is_refused(space, obs, given):
    _, flat = spaces.observations("Mine-v0", space)
    with pytest.raises(UnexpectedError, match=f"its observation is {given}.*, and its observation_space "):
        flat(obs)


def test_pictures_are_flattened_with_a_warning():
    with pytest.warns(
        PpocliWarning, match=r"Mine-v0: its observations \(4, 4, 3\) look like pictures.*into 48 numbers"
    ):
        spec, flat = spaces.observations("Mine-v0", gym.spaces.Box(0, 255, (4, 4, 3), np.uint8))
    assert spec == Vector(48)
    assert flat(np.full((4, 4, 3), 7, np.uint8)).tolist() == [7] * 48
