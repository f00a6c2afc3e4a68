from contextlib import closing
from pathlib import Path

import imageio
import numpy as np
import pytest
from PIL import Image, ImageSequence

from ppocli.config import EnvConfig
from ppocli.envs.api import Discrete
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import SLOTS, evaluation_envs
from ppocli.errors import PpocliError, UsageError
from ppocli.evaluate import evaluate, random
from ppocli.render import check_display, check_output, record
from ppocli.seeds import Purpose, evaluation_seeds

SEEDS = evaluation_seeds(0, Purpose.EVALUATION, 2)


def recorded(output):
    """Record two random episodes of CartPole, and check that evaluate plays the same; return their env steps."""
    config = EnvConfig(id="CartPole-v1")
    episodes = record(GymnasiumVectorEnv(config, SLOTS, "rgb_array"), random(Discrete(2)), SEEDS, output)
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


def test_only_formats_that_can_be_written():
    check_output(Path("x.MP4"))
    with pytest.raises(UsageError, match=r"--output x.avi: the name must end in .mp4 or .gif"):
        check_output(Path("x.avi"))


def test_no_display(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PpocliError, match="leave --human out"):
        check_display()
    monkeypatch.setenv("DISPLAY", ":0")
    check_display()
