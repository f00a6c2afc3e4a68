"""Wrappers that a config names."""

import sys
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest

from ppocli import guests
from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Vector
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import make_environments
from ppocli.envs.wrappers import GYMNASIUMS, TerminateOnLifeLoss, wraps_of
from ppocli.errors import PpocliError, PpocliWarning, UsageError
from ppocli.guests import Imported
from tests.environments import Counting


class Doubled(gym.RewardWrapper):
    """Rewards times a factor."""

    def __init__(self, env, factor=2.0):
        super().__init__(env)
        self.factor = factor

    def reward(self, reward):
        return self.factor * reward


class Empty(gym.Wrapper):
    """It holds nothing."""

    def __init__(self, env):
        pass


class Picture(Counting):
    observation_space = gym.spaces.Box(0, 255, (20, 30, 3), np.uint8)


@pytest.fixture
def imported(monkeypatch):
    """A module of the user's own that has been imported."""
    module = ModuleType("my_wrappers")
    module.Doubled, module.Empty, module.gym, module.number = Doubled, Empty, gym, 3
    monkeypatch.setitem(sys.modules, "my_wrappers", module)
    monkeypatch.setattr(guests, "IMPORTED", [Imported("./my_wrappers.py", "0")])


def make(*wrappers, **config):
    return GymnasiumVectorEnv(EnvConfig(id="Counting-v0", wrappers=wrappers, **config), 1)


def test_they_are_put_around_the_environment_in_their_order(imported):
    envs = make(
        {"id": "FrameStackObservation", "stack_size": 3},
        {"id": "my_wrappers:Doubled", "factor": 5},
        {"id": "ClipReward", "max_reward": 9},
    )
    assert envs.obs_spec == Vector(6)
    envs.reset([0], [7])
    assert envs.step(np.array([0])).rewards.tolist() == [5]
    step = envs.step(np.array([0]))
    assert step.rewards.tolist() == [9]  # 2 · 5, clipped; the other way round it would be 10
    assert step.obs.tolist() == [[0, 7, 1, 7, 2, 7]]


@pytest.mark.parametrize(("env_id", "size"), [("LunarLander-v3", 8), ("Truncated-v0", 2)])
def test_workers_have_them_too(env_id, size):
    """Also around what only the parent has registered, and just once."""
    config = Config.model_validate(
        {
            "env": {"id": env_id, "num_envs": 4, "workers": 1, "wrappers": [{"id": "TimeAwareObservation"}]},
            "update": {"minibatch_size": 4},
        }
    )
    environments = make_environments(config)
    try:
        obs = environments.training.reset(range(4), range(4))
        assert obs.shape == (4, size + 1)
        alone = GymnasiumVectorEnv(config.env, 4)
        assert np.array_equal(obs, alone.reset(range(4), range(4)))
    finally:
        environments.close()


def test_one_of_training_alone_is_not_there_when_the_agent_is_measured():
    wrappers = [
        {"id": "ClipReward", "max_reward": 1, "training_only": True},
        {"id": "FrameStackObservation", "stack_size": 2, "training_only": False},
    ]
    env = {"id": "Counting-v0", "num_envs": 1, "workers": 0, "wrappers": wrappers}
    environments = make_environments(Config.model_validate({"env": env, "update": {"minibatch_size": 128}}))
    rewards = []
    for envs in (environments.training, environments.evaluation):
        envs.reset([0], [0])
        envs.step(np.zeros(envs.num_envs, int))
        rewards.append(envs.step(np.zeros(envs.num_envs, int)).rewards[0])
        assert envs.obs_spec == Vector(4)
    environments.close()
    assert rewards == [1, 2]


@pytest.mark.parametrize(
    ("wrapper", "said"),
    [
        ("RecordVideo", "'RecordVideo': it is none of AtariPreprocessing, .*; one of your own is written module:Class"),
        ("NormalizeReward", "the agent sees to that itself"),
        ("FrameStackObservations", "did you mean FrameStackObservation. One of your own is written module:Class"),
        ("Nothing", "is none of"),
        ("os:path", "nobody has imported os; add --import os"),  # loaded, but not by the user's wish
        ("gymnasium.wrappers:RecordVideo", "nobody has imported gymnasium.wrappers"),
        ("elsewhere:Wrapper", "nobody has imported elsewhere"),
        ("my_wrappers:number", "my_wrappers:number is no subclass of gymnasium.Wrapper"),
        ("my_wrappers:absent", "my_wrappers has nothing of the name absent"),
        ("my_wrappers:Empty", r"my_wrappers:Empty: its __init__ is to begin with super\(\).__init__\(env\)"),
        ("FrameStackObservation", "FrameStackObservation: TypeError: .*stack_size.*around Counting-v0"),
    ],
)
def test_what_is_no_wrapper_for_it_is_an_error_of_one_line(imported, wrapper, said):
    with pytest.raises(UsageError, match=f"^env.wrappers: .*{said}"):
        make({"id": wrapper})


ARGUMENTS = {
    "AtariPreprocessing": None,  # of Atari alone
    "ClipAction": {},
    "ClipReward": {"min_reward": -1, "max_reward": 1},
    "DelayObservation": {"delay": 2},
    "DiscretizeAction": {"bins": [3]},
    "DiscretizeObservation": {"bins": [2, 2, 2]},
    "DtypeObservation": {"dtype": "float32"},
    "FilterObservation": None,  # of Dict and Tuple
    "FlattenObservation": {},
    "FrameStackObservation": {"stack_size": 2},
    "GrayscaleObservation": None,  # of pictures
    "MaxAndSkipObservation": {"skip": 2},
    "RepeatAction": {"num_repeats": 2},
    "RescaleAction": {"min_action": [-3], "max_action": [3]},
    "RescaleObservation": {"min_obs": [-1, -1, -1], "max_obs": [1, 1, 1]},
    "ReshapeObservation": {"shape": [3, 1]},
    "ResizeObservation": None,  # of pictures
    "StickyAction": {"repeat_action_probability": 0.1},
    "TimeAwareObservation": {},
    "TimeLimit": {"max_episode_steps": 7},
}


@pytest.mark.parametrize("name", [name for name, given in ARGUMENTS.items() if given is not None])
def test_each_of_gymnasiums_takes_what_a_config_can_give_it(name):
    wrappers = EnvConfig(id="Pendulum-v1", wrappers=[{"id": name, **ARGUMENTS[name]}]).wrappers
    envs = GymnasiumVectorEnv(EnvConfig(id="Pendulum-v1", wrappers=wrappers), 1)
    envs.reset([0], [0])
    step = envs.step(np.zeros((1, *envs.action_spec.shape), envs.action_spec.dtype))
    assert step.obs.shape == (1, *envs.obs_spec.shape)
    assert envs.episode_limit == (7 if name == "TimeLimit" else 200)
    assert not envs.limit_is_assumed


def test_a_picture_is_resized():
    pytest.importorskip("cv2", reason="Gymnasium resizes by OpenCV")
    wrappers = [{"id": "ResizeObservation", "shape": [4, 5]}]
    gym.register("Picture-v0", Picture)
    with pytest.warns(PpocliWarning, match="look like pictures"):
        assert GymnasiumVectorEnv(EnvConfig(id="Picture-v0", wrappers=wrappers), 1).obs_spec == Vector(4 * 5 * 3)
    del gym.registry["Picture-v0"]


def test_all_of_gymnasiums_are_tried():
    assert ARGUMENTS.keys() == set(GYMNASIUMS)


@pytest.mark.parametrize(
    "wrappers",
    [
        "ClipReward",
        ["ClipReward"],
        [{"stack_size": 4}],
        [{"id": 3}],
        [{"id": "ClipReward", "training_only": "yes"}],
        [["ClipReward"]],
    ],
)
def test_a_config_holds_a_list_of_ids_with_arguments(wrappers):
    with pytest.raises(ValueError, match=r"must be a list of wrappers|must have for each|must be a mapping"):
        EnvConfig(id="Counting-v0", wrappers=wrappers)


def test_ones_own_is_given_what_the_config_says_as_it_is(imported):
    (wrap,) = wraps_of([{"id": "my_wrappers:Doubled", "factor": [3, 4]}])
    assert wrap.keywords == {"factor": [3, 4]}  # which one of Gymnasium's would be given as a tuple


def test_who_imports_a_package_may_name_what_stands_in_its_modules(imported, monkeypatch):
    monkeypatch.setitem(sys.modules, "my_wrappers.more", sys.modules["my_wrappers"])
    (wrap,) = wraps_of([{"id": "my_wrappers.more:Doubled"}])
    assert wrap.func is Doubled


def test_some_numbers_of_an_observation():
    envs = make({"id": "SelectObservation", "indices": [1]})
    assert envs.obs_spec == Vector(1)
    assert envs.reset([0], [7]).tolist() == [[7]]
    assert envs.step(np.array([0])).obs.tolist() == [[7]]
    space = make({"id": "SelectObservation", "indices": [1, 0]}).observation_space
    assert space.low.tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(
    ("env_id", "indices", "said"),
    [
        ("FrozenLake-v1", [0], "TypeError: observations are Discrete.*; it takes numbers out of a Box"),
        ("Counting-v0", [2], "IndexError"),
        ("Counting-v0", [], r"indices: \[\] is to be a list of whole numbers"),
        ("Counting-v0", [True, False], "is to be a list of whole numbers"),
        ("Counting-v0", [[0]], "is to be a list of whole numbers"),
    ],
)
def test_numbers_that_there_are_not(env_id, indices, said):
    wrapper = {"id": "SelectObservation", "indices": indices}
    with pytest.raises(UsageError, match=f"env.wrappers: .*{said}"):
        GymnasiumVectorEnv(EnvConfig(id=env_id, wrappers=(wrapper,)), 1)


class Lives(Counting):
    """Three lives, of two steps each."""

    def _lives(self):
        return {"lives": 3 - self.steps // 2}

    def reset(self, **kwargs):
        return super().reset(**kwargs)[0], self._lives()

    def step(self, action):
        *others, _ = super().step(action)
        return *others, self._lives()


def test_a_game_that_ends_with_the_first_of_its_lives():
    env = TerminateOnLifeLoss(Lives(length=6))
    for _ in range(2):
        env.reset(seed=0)
        assert [env.step(0)[2] for _ in range(2)] == [False, True]
    whole = Lives(length=6)
    whole.reset(seed=0)
    assert [whole.step(0)[2] for _ in range(6)] == [False] * 5 + [True]


def test_a_life_that_was_won_can_be_lost():
    class Bonus(Lives):
        def _lives(self):
            return {"lives": [3, 4, 3, 2][self.steps]}

    env = TerminateOnLifeLoss(Bonus(length=9))
    env.reset(seed=0)
    assert [env.step(0)[2] for _ in range(2)] == [False, True]


def test_lives_where_there_are_none():
    envs = make({"id": "TerminateOnLifeLoss"})
    with pytest.raises(PpocliError, match="TerminateOnLifeLoss: the infos have no `lives`"):
        envs.reset([0], [0])
