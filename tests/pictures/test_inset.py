"""What a policy looks at, beside the frame."""

from contextlib import closing

import imageio
import numpy as np
import pytest

import examples.catch  # noqa: F401 - registers CameraCatch-v0
from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Pictures, Vector
from ppocli.envs.make import drawn_envs
from ppocli.evaluation.play import random
from ppocli.pictures.films import record
from ppocli.pictures.inset import MARGIN, with_inset

FRAME = np.full((48, 60, 3), 7, np.uint8)


def test_a_stack_stands_in_a_column_and_the_frame_stays():
    """Of 48 pixels each of four has 12 with its margin; 20 × 40 pixels are 10 × 20."""
    spec = Pictures(((4, 20, 40),))
    obs = np.repeat(np.array([10, 20, 30, 40], np.uint8), 800)
    found = with_inset(FRAME, spec, obs)
    assert found.shape == (48, 60 + MARGIN + 20, 3)
    assert (found[:, :60] == FRAME).all()
    assert [found[12 * place + 5, 65].tolist() for place in range(4)] == [[grey] * 3 for grey in (10, 20, 30, 40)]
    assert found[11, 65].tolist() == [255] * 3  # between two of them


def test_three_channels_are_colours_and_numbers_are_not_shown():
    spec = Pictures(((3, 16, 16), (6, 16, 16)), size=2)
    obs = np.zeros(spec.shape, np.uint8)
    for place in spec.places:
        obs[place.start : place.start + 256] = 200  # the first channel, red
    found = with_inset(FRAME, spec, obs)
    assert found.shape == (48, 60 + MARGIN + 10, 3)
    assert found[5, 65].tolist() == found[17, 65].tolist() == [200, 0, 0]
    assert found[29, 65].tolist() == [0, 0, 0]  # the second three of the second picture
    assert found[41, 65].tolist() == [255, 255, 255]  # there is no fourth


@pytest.mark.parametrize("height", [1, 2, 40])
def test_any_frame_will_do(height):
    frame = np.zeros((height, 3, 3), np.uint8)
    assert with_inset(frame, Pictures(((2, 16, 16),)), np.zeros(512, np.uint8)).shape[0] == height


def test_a_vector_is_not_shown():
    assert with_inset(FRAME, Vector(4), np.zeros(4, np.float32)) is FRAME


def test_films_show_what_is_seen_in_each_step(tmp_path):
    """The field is 320 × 320 pixels, what the camera sees of it 40 × 40: 78 in the column."""
    with closing(drawn_envs(EnvConfig(id="CameraCatch-v0"), "rgb_array")) as envs:
        record(envs, random(envs.action_spec, envs.obs_spec), [1], tmp_path / "film.gif")
    with closing(imageio.get_reader(tmp_path / "film.gif")) as reader:
        frames = [np.asarray(frame)[..., :3] for frame in reader]
    assert {frame.shape for frame in frames} == {(320, 320 + MARGIN + 78, 3)}
    for frame in frames[:8]:
        rows, columns = (np.flatnonzero((frame[:280, :320, 0] > 200).any(axis)) for axis in (1, 0))
        if len(rows):  # the ball has not landed
            height, across = (int(where.mean() / 320 * 78) for where in (rows, columns))
            assert frame[height, 322 + across, 0] > 200
