import os
from contextlib import closing
from ctypes.util import find_library
from pathlib import Path

import gymnasium as gym
import imageio
import numpy as np
import pytest
from PIL import Image, ImageSequence

from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Discrete, Vector
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import NUM_EVAL_ENVS, evaluation_envs
from ppocli.errors import PpocliError, UsageError
from ppocli.evaluation.play import evaluate, random
from ppocli.files import check_output
from ppocli.pictures import films
from ppocli.pictures.films import CAPTION_HEIGHT, FORMATS, Scene, check_display, record, record_beside
from ppocli.seeds import Purpose, evaluation_seeds
from tests.environments import Counting


class Painted(Counting):
    """Three steps, each of a grey of its own, five in a second; `grows` as it goes on."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, grows=False, length=3, render_mode=None):
        super().__init__(length, render_mode=render_mode)
        self.grows = grows

    def render(self):
        return np.full((30 + self.grows * 2 * self.steps, 41, 3), 60 * self.steps, np.uint8)


gym.register("Painted-v0", Painted)


def painted(output, num_episodes=1, **kwargs):
    """Record episodes of Painted; return them, and the last frame."""
    with closing(GymnasiumVectorEnv(EnvConfig(id="Painted-v0", kwargs=kwargs), 2, "rgb_array")) as envs:
        return record(envs, random(Discrete(2), Vector(4)), range(num_episodes), output)


SEEDS = evaluation_seeds(0, Purpose.EVALUATION, 2)


def recorded(output):
    """Record two random episodes of CartPole, and check that evaluate plays the same; return how many frames that is.

    Each begins with a frame before its first step, and ends with one that lasts a second, of 50 frames.
    """
    config = EnvConfig(id="CartPole-v1")
    episodes, _ = record(
        GymnasiumVectorEnv(config, NUM_EVAL_ENVS, "rgb_array"), random(Discrete(2), Vector(4)), SEEDS, output
    )
    evaluated = evaluate(evaluation_envs(config), random(Discrete(2), Vector(4)), SEEDS)
    assert [(e.seed, e.episode_return) for e in episodes] == [(e.seed, e.episode_return) for e in evaluated]
    return sum(1 + episode.episode_length + 49 for episode in episodes)


def test_mp4_shows_every_step(tmp_path):
    output = tmp_path / "new" / "video.mp4"
    num_frames = recorded(output)
    with closing(imageio.get_reader(output)) as reader:
        frames = [frame for frame in reader]  # noqa: C416 - list() would ask for its length, which is infinite
        assert reader.get_meta_data()["fps"] == 50  # as CartPole says of itself
    assert len(frames) == num_frames
    assert frames[0].shape == (400, 600, 3)
    assert not np.array_equal(frames[0], frames[-1])


def test_gif_shows_every_step(tmp_path):
    output = tmp_path / "video.gif"
    num_frames = recorded(output)
    with Image.open(output) as picture:
        # a frame like the one before it is kept as a longer time
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
        assert picture.size == (600, 400)
        assert picture.info["loop"] == 0
    assert sum(durations) == 20 * num_frames


@pytest.mark.parametrize("num_episodes", [1, 2])
def test_a_film_begins_before_the_first_step_and_stays_at_the_end_for_a_second(tmp_path, num_episodes):
    episodes, last = painted(tmp_path / "x.mp4", num_episodes)
    assert [episode.episode_length for episode in episodes] == [3] * num_episodes
    assert (last.shape, last.min(), last.max()) == ((30, 41, 3), 180, 180)
    with closing(imageio.get_reader(tmp_path / "x.mp4")) as reader:
        frames = [frame for frame in reader]  # noqa: C416 - list() would ask for its length, which is infinite
    expected = [0, 60, 120, *[180] * 5] * num_episodes
    assert [frame.mean() for frame in frames] == pytest.approx(expected, abs=3)
    assert frames[0].shape == (30, 42, 3)  # even, as players want it
    assert painted(tmp_path / "x.gif", num_episodes)[0] == episodes
    with Image.open(tmp_path / "x.gif") as picture:
        shown = [
            (frame.convert("L").getpixel((0, 0)), frame.info["duration"]) for frame in ImageSequence.Iterator(picture)
        ]
    assert shown == [(0, 200), (60, 200), (120, 200), (180, 1000)] * num_episodes


@pytest.mark.parametrize("name", ["x.mp4", "x.gif"])
def test_frames_of_different_sizes_are_no_film(tmp_path, name):
    with pytest.raises(PpocliError, match=r"a frame of shape \(30, 41, 3\), the next of \(32, 41, 3\)"):
        painted(tmp_path / name, grows=True)
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_that_is_not_there_is_named_with_the_variable_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    said = r"ffmpeg failed: No such file or directory \(IMAGEIO_FFMPEG_EXE is .*nowhere; unset it"
    with pytest.raises(PpocliError, match=said):
        painted(tmp_path / "x.mp4")
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")

    def nothing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(films, "get_ffmpeg_exe", nothing)
    with pytest.raises(PpocliError, match=r"ffmpeg failed: No ffmpeg exe could be found\.$"):
        painted(tmp_path / "x.mp4")
    assert list(tmp_path.iterdir()) == []
    painted(tmp_path / "x.gif")  # which needs none


@pytest.mark.skipif(os.name != "posix", reason="scripts of a shell")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "exit status 3 without a whole film"),
        ("cat > /dev/null", "exit status 0 without a whole film"),
        ("head -c 5000 > /dev/null; echo no space left >&2; echo conversion failed >&2; exit 1", "no space left"),
        ("head -c 5000 > /dev/null; kill -9 $$", "exit status -9 without a whole film"),
    ],
)
def test_an_ffmpeg_that_breaks_leaves_no_film(tmp_path, monkeypatch, script, said):
    (tmp_path / "film.mp4").write_text("what was there before")
    tool = tmp_path / "ffmpeg"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tool))
    with pytest.raises(PpocliError, match=rf"ffmpeg failed: {said} \(IMAGEIO_FFMPEG_EXE is"):
        painted(tmp_path / "film.mp4", num_episodes=9)
    assert {path.name for path in tmp_path.iterdir()} == {"film.mp4", "ffmpeg"}
    assert (tmp_path / "film.mp4").read_text() == "what was there before"


@pytest.mark.skipif(find_library("EGL") is None, reason="MuJoCo draws through EGL where there is no screen")
def test_hopper_is_drawn_without_a_screen(tmp_path, monkeypatch):
    pytest.importorskip("mujoco", reason="MuJoCo is an extra")
    for name in ("DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    with closing(GymnasiumVectorEnv(EnvConfig(id="Hopper-v5"), NUM_EVAL_ENVS, "rgb_array")) as envs:
        (episode,), _ = record(envs, random(envs.action_spec, envs.obs_spec), SEEDS[:1], tmp_path / "hopper.mp4")
    with closing(imageio.get_reader(tmp_path / "hopper.mp4")) as reader:
        frames = [frame for frame in reader]  # noqa: C416 - see above
    assert len(frames) == 1 + episode.episode_length + 124
    assert frames[0].std() > 10


def test_what_cannot_be_drawn_is_said_in_a_line(tmp_path):
    with pytest.raises(PpocliError, match=r"Counting-v0 cannot be drawn: it has no method render"):
        record(
            GymnasiumVectorEnv(EnvConfig(id="Counting-v0"), 1, "rgb_array"),
            random(Discrete(2), Vector(4)),
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


def test_scenes_stand_side_by_side_and_whichever_has_ended_waits(tmp_path):
    scenes = []
    for length in (1, 3):
        config = EnvConfig(id="Painted-v0", kwargs={"length": length})
        envs = GymnasiumVectorEnv(config, 2, "rgb_array")
        scenes.append(Scene(f"of {length}", envs, random(Discrete(2), Vector(4))))
    record_beside(scenes, 7, tmp_path / "x.mp4")
    for scene in scenes:
        scene.envs.close()
    assert [[episode.episode_length for episode in scene.episodes] for scene in scenes] == [[1], [3]]
    assert {episode.seed for scene in scenes for episode in scene.episodes} == {7}
    with closing(imageio.get_reader(tmp_path / "x.mp4")) as reader:
        frames = [frame for frame in reader]  # noqa: C416 - list() would ask for its length, which is infinite
    height = round(30 * 480 / 41)
    assert frames[0].shape == (2 * ((height + CAPTION_HEIGHT + 1) // 2), 960, 3)
    # below the captions: each scene's grey, from its first frame to its end, which lasts a second, of 5 frames
    left, right = ([frame[200, column].mean() for frame in frames] for column in (240, 720))
    assert left == pytest.approx([0, *[60] * 7], abs=4)
    assert right == pytest.approx([0, 60, 120, *[180] * 5], abs=4)
    captions = [frame[:CAPTION_HEIGHT, :480].min() for frame in frames]
    assert max(captions) < 100  # something is written there
    assert not np.array_equal(frames[0][:CAPTION_HEIGHT, :480], frames[1][:CAPTION_HEIGHT, :480])  # its return
