"""Observations with pictures in them: which are, how they are laid out, and what is beside them."""

from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple

import examples.catch  # noqa: F401 - registers CameraCatch-v0
from ppocli.config.sections import EnvConfig
from ppocli.envs import spaces
from ppocli.envs.api import Pictures, Vector, numbers
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import stepped_envs
from ppocli.guests import UnexpectedError
from tests.environments import Gated


def bytes_of(*shape):
    return Box(0, 255, shape, np.uint8)


def counted(*shape):
    """A picture of which no two bytes nearby are the same."""
    return (np.arange(np.prod(shape)) % 251).astype(np.uint8).reshape(shape)


@pytest.mark.parametrize(
    ("shape", "form", "arranged"),
    [
        ((20, 30), (1, 20, 30), lambda picture: picture[None]),
        ((20, 30, 3), (3, 20, 30), lambda picture: picture.transpose(2, 0, 1)),
        ((3, 20, 30), (3, 20, 30), lambda picture: picture),
        ((4, 84, 84), (4, 84, 84), lambda picture: picture),
        ((16, 16, 16), (16, 16, 16), lambda picture: picture.transpose(2, 0, 1)),
        ((2, 20, 30, 3), (6, 20, 30), lambda picture: np.concatenate([one.transpose(2, 0, 1) for one in picture])),
        ((2, 3, 20, 30), (6, 20, 30), lambda picture: np.concatenate(picture)),
    ],
)
def test_what_looks_like_a_picture_is_one_channels_first(shape, form, arranged):
    spec, row_of = spaces.observations("Mine-v0", bytes_of(*shape))
    assert spec == Pictures((form,))
    picture = counted(*shape)
    row = row_of(picture)
    assert (row.dtype, row.shape) == (np.uint8, spec.shape)
    np.testing.assert_array_equal(row[spec.places[0]].reshape(form), arranged(picture))


@pytest.mark.filterwarnings("ignore:Mine-v0. its observations")
@pytest.mark.parametrize(
    "space",
    [bytes_of(15, 40, 3), bytes_of(7, 7, 3), bytes_of(40), Box(0, 1, (40, 40)), Box(0, 255, (40, 40), np.int32)],
)
def test_what_does_not_is_flattened(space):
    assert spaces.observations("Mine-v0", space)[0] == Vector(int(np.prod(space.shape)))


@pytest.mark.filterwarnings("ignore:Mine-v0. its observations")
def test_a_config_may_have_pictures_flattened():
    spec, flat = spaces.observations("Mine-v0", bytes_of(20, 30), pictures=False)
    assert spec == Vector(600)
    np.testing.assert_array_equal(flat(counted(20, 30)), counted(600))


def test_numbers_beside_pictures_stand_behind_them_where_they_can_be_read_in_place():
    space = Dict(eyes=Tuple([bytes_of(17, 17), bytes_of(20, 20, 3)]), mode=Discrete(3), speed=Box(-9, 9, (2,)))
    spec, row_of = spaces.observations("Mine-v0", space)
    assert spec == Pictures(((1, 17, 17), (3, 20, 20)), size=5)
    assert [(place.start, place.stop) for place in spec.places] == [(0, 289), (289, 1489)]
    assert (spec.numbers_at.start, spec.shape) == (1492, (1492 + 5 * 4,))
    row = row_of({"eyes": (counted(17, 17), counted(20, 20, 3)), "mode": 2, "speed": np.array([-1.5, 4])})
    np.testing.assert_array_equal(row[289:1489].reshape(3, 20, 20), counted(20, 20, 3).transpose(2, 0, 1))
    assert numbers(spec, row).tolist() == [0, 0, 1, -1.5, 4]
    rows = np.stack([row, row])
    numbers(spec, rows)[1] = 7  # a view
    assert numbers(spec, rows).tolist() == [[0, 0, 1, -1.5, 4], [7] * 5]


@pytest.mark.parametrize("obs", [counted(20, 31), counted(20, 30).astype(np.int64), None, "picture"])
def test_what_is_no_such_picture(obs):
    _, row_of = spaces.observations("Mine-v0", bytes_of(20, 30))
    with pytest.raises(UnexpectedError, match=r"its observation is .*, and its observation_space Box"):
        row_of(obs)


def test_workers_show_the_same_pictures():
    config = EnvConfig(id="CameraCatch-v0", num_envs=5)
    with closing(stepped_envs(config, 1)) as shared, closing(stepped_envs(config, 0)) as alone:
        assert isinstance(alone.obs_spec, Pictures)
        for envs in (shared, alone):
            envs.reset(range(5), range(5))
        for action in (0, 1, 2):
            one, other = (envs.step(np.full(5, action)) for envs in (shared, alone))
            np.testing.assert_array_equal(one.obs, other.obs)


class Seen(Gated):
    """It says which actions are allowed, beside a picture."""

    observation_space = Dict(picture=bytes_of(16, 16), numbers=Gated.observation_space)

    def _obs(self):
        return {"picture": np.full((16, 16), self.steps, np.uint8), "numbers": super()._obs()}


def test_a_mask_is_the_end_of_the_numbers():
    gym.register("Seen-v0", Seen)
    envs = GymnasiumVectorEnv(EnvConfig(id="Seen-v0"), 2)
    assert envs.obs_spec == Pictures(((1, 16, 16),), size=2, num_masked=4)
    obs = envs.reset([0, 1], [0, 5])
    assert numbers(envs.obs_spec, obs).tolist() == [[0, 0, 0, 1, 1, 1], [0, 5, 1, 0, 1, 1]]
    assert set(envs.step(np.array([1, 0])).obs[0, :256].tolist()) == {1}
    del gym.registry["Seen-v0"]
