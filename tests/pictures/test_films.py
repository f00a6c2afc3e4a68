from contextlib import closing
from ctypes.util import find_library
from pathlib import Path

import imageio
import numpy as np
import pytest
from PIL import Image, ImageSequence

from ppocli.config.models import EnvConfig
from ppocli.envs.api import Discrete
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import NUM_EVAL_ENVS, evaluation_envs
from ppocli.errors import PpocliError, UsageError
from ppocli.evaluation.play import evaluate, random
from ppocli.files import check_output
from ppocli.pictures.films import FORMATS, check_display, record
from ppocli.seeds import Purpose, evaluation_seeds

SEEDS = evaluation_seeds(0, Purpose.EVALUATION, 2)


def recorded(output):
    """Record two random episodes of CartPole, and check that evaluate plays the same; return their env steps."""
    config = EnvConfig(id="CartPole-v1")
    episodes = record(GymnasiumVectorEnv(config, NUM_EVAL_ENVS, "rgb_array"), random(Discrete(2)), SEEDS, output)
    evaluated = evaluate(evaluation_envs(config), random(Discrete(2)), SEEDS)
    assert [(e.seed, e.episode_return) for e in episodes] == [(e.seed, e.episode_return) for e in evaluated]
    return sum(episode.episode_length for episode in episodes)


def test_mp4_shows_every_step(tmp_path):
    output = tmp_path / "new" / "video.mp4"
    env_steps = recorded(output)
    with closing(imageio.get_reader(output)) as reader:
        frames = [frame for frame in reader]  # noqa: C416 - list() would ask for its length, which is infinite
        assert reader.get_meta_data()["fps"] == 50  # as CartPole says of itself
    assert len(frames) == env_steps
    assert frames[0].shape == (400, 600, 3)
    assert not np.array_equal(frames[0], frames[-1])


def test_gif_shows_every_step(tmp_path):
    output = tmp_path / "video.gif"
    env_steps = recorded(output)
    with Image.open(output) as picture:
        # a frame like the one before it is kept as a longer time
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
        assert picture.size == (600, 400)
        assert picture.info["loop"] == 0
    assert sum(durations) == 20 * env_steps


@pytest.mark.skipif(find_library("EGL") is None, reason="MuJoCo draws through EGL where there is no screen")
def test_hopper_is_drawn_without_a_screen(tmp_path, monkeypatch):
    pytest.importorskip("mujoco", reason="MuJoCo is an extra")
    for name in ("DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    with closing(GymnasiumVectorEnv(EnvConfig(id="Hopper-v5"), NUM_EVAL_ENVS, "rgb_array")) as envs:
        episodes = record(envs, random(envs.action_spec), SEEDS[:1], tmp_path / "hopper.mp4")
    with closing(imageio.get_reader(tmp_path / "hopper.mp4")) as reader:
        frames = [frame for frame in reader]  # noqa: C416 - see above
    assert len(frames) == episodes[0].episode_length
    assert frames[0].std() > 10


def test_what_cannot_be_drawn_is_said_in_a_line(tmp_path):
    with pytest.raises(PpocliError, match=r"Counting-v0 cannot be drawn: it has no method render"):
        record(
            GymnasiumVectorEnv(EnvConfig(id="Counting-v0"), 1, "rgb_array"),
            random(Discrete(2)),
            [0],
            tmp_path / "x.mp4",
        )
    assert list(tmp_path.iterdir()) == []


def test_only_formats_that_can_be_written():
    check_output(Path("x.MP4"), FORMATS)
    with pytest.raises(UsageError, match=r"--output x.avi: the name must end in .mp4 or .gif"):
        check_output(Path("x.avi"), FORMATS)


def test_no_display(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PpocliError, match="leave --human out"):
        check_display()
    monkeypatch.setenv("DISPLAY", ":0")
    check_display()
