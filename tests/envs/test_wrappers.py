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
from ppocli.errors import UsageError
from ppocli.guests import Imported


class Doubled(gym.RewardWrapper):
    """Rewards times a factor."""

    def __init__(self, env, factor=2.0):
        super().__init__(env)
        self.factor = factor

    def reward(self, reward):
        return self.factor * reward


@pytest.fixture
def imported(monkeypatch):
    """A module of the user's own that has been imported."""
    module = ModuleType("my_wrappers")
    module.Doubled, module.gym, module.number = Doubled, gym, 3
    monkeypatch.setitem(sys.modules, "my_wrappers", module)
    monkeypatch.setattr(guests, "IMPORTED", [Imported("./my_wrappers.py", "0")])
    monkeypatch.setattr("ppocli.envs.wrappers.IMPORTED", guests.IMPORTED)


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


def test_workers_have_them_too():
    config = Config.model_validate(
        {
            "env": {"id": "LunarLander-v3", "num_envs": 4, "workers": 1, "wrappers": [{"id": "TimeAwareObservation"}]},
            "update": {"minibatch_size": 4},
        }
    )
    environments = make_environments(config)
    try:
        obs = environments.training.reset(range(4), range(4))
        assert obs.shape == (4, 9)
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
        ("RecordVideo", "'RecordVideo' is none of AtariPreprocessing, .*; one of your own is written module:Class"),
        ("NormalizeReward", "is none of"),
        ("Nothing", "is none of"),
        ("os:path", "nobody has imported os; add --import os"),  # loaded, but not by the user's wish
        ("gymnasium.wrappers:RecordVideo", "nobody has imported gymnasium.wrappers"),
        ("elsewhere:Wrapper", "nobody has imported elsewhere"),
        ("my_wrappers:number", "my_wrappers has no gymnasium.Wrapper of the name number"),
        ("my_wrappers:absent", "has no gymnasium.Wrapper"),
        ("FrameStackObservation", "FrameStackObservation: TypeError: .*stack_size.*around Counting-v0"),
    ],
)
def test_what_is_no_wrapper_for_it_is_an_error_of_one_line(imported, wrapper, said):
    with pytest.raises(UsageError, match=f"^env.wrappers: .*{said}"):
        make({"id": wrapper})


@pytest.mark.parametrize(
    "wrappers",
    ["ClipReward", [{"stack_size": 4}], [{"id": 3}], [{"id": "ClipReward", "training_only": "yes"}], [["ClipReward"]]],
)
def test_a_config_holds_a_list_of_ids_with_arguments(wrappers):
    with pytest.raises(ValueError, match=r"must be a list of wrappers|must have for each|must be a mapping"):
        EnvConfig(id="Counting-v0", wrappers=wrappers)
