"""Pictures of an episode: a video file without any display, or a window."""

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ppocli.device import threads
from ppocli.envs.episodes import Episode
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.errors import PpocliError
from ppocli.evaluation.play import Policy, play
from ppocli.files import placing
from ppocli.pictures.inset import with_inset
from ppocli.views.text import mean_return

FORMATS = (".mp4", ".gif")
SMALL_WIDTH = 400  # pixels that a small video is wide at most
SCENES_WIDTH, CAPTION_HEIGHT = 960, 40  # pixels of scenes side by side, and of what is above each
Frame = NDArray[np.uint8]  # (height, width, 3)
_NO_DISPLAY = "--human needs a display and there is none here; leave --human out to get a video file"


def record(
    envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int], output: Path, *, small: bool = False
) -> tuple[list[Episode], Frame]:
    """Play an episode for each seed, one after the other, and write them as one video; `envs` draw `rgb_array`.

    Return the episodes, and the last frame. A file that is there already is replaced once the new one is whole. A
    `small` mp4 has a width and a quality for pages rather than screens. Raises PpocliError when it cannot be written.
    """
    episodes: list[Episode] = []
    frames = ((last := frame) for frame in _frames(envs, policy, seeds, episodes))
    _write(output, frames, envs, small)
    return episodes, last


@dataclass
class Scene:
    """An episode that is to be one of several in the same frames."""

    caption: str
    envs: GymnasiumVectorEnv  # that draw `rgb_array`
    policy: Policy
    episodes: list[Episode] = field(default_factory=list)  # the one that was played


def record_beside(scenes: Sequence[Scene], seed: int, output: Path) -> None:
    """Play the same episode in all scenes at once and write one video: each scene has a place, and its caption.

    Whichever has ended stands still, with its return, until all have. Raises what `record` raises.
    """
    takes = [_frames(scene.envs, scene.policy, [seed], scene.episodes) for scene in scenes]
    columns = math.ceil(math.sqrt(len(scenes)))

    def frames() -> Iterator[Frame]:
        places = [Image.new("RGB", (1, 1))] * len(scenes)
        for moment in zip_longest(*takes):
            for place, (scene, frame) in enumerate(zip(scenes, moment, strict=True)):
                if frame is not None:
                    places[place] = _captioned(frame, scene, SCENES_WIDTH // columns)
            yield _side_by_side(places, columns)

    _write(output, frames(), scenes[0].envs, small=False)


def _write(output: Path, frames: Iterator[Frame], envs: GymnasiumVectorEnv, small: bool) -> None:
    fps = envs.frames_per_second
    partial = output.with_name(f".{output.stem}.partial{output.suffix}")
    with placing(output):
        partial.touch()  # where the folder is read-only, this says so more clearly than ffmpeg
    try:
        with placing(output), _without_a_screen(), threads(envs.obs_spec.threads):
            if output.suffix.lower() == ".gif":
                _write_gif(partial, frames, fps)
            else:
                _write_mp4(partial, frames, fps, small)
            partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _captioned(frame: Frame, scene: Scene, width: int) -> Image.Image:
    """Return a frame that is so wide, below its scene's caption and, once it has ended, its return."""
    height = round(frame.shape[0] * width / frame.shape[1])
    picture = Image.new("RGB", (width, height + CAPTION_HEIGHT), "white")
    picture.paste(Image.fromarray(frame).resize((width, height)), (0, CAPTION_HEIGHT))
    ended = [
        f"return {mean_return(episode.episode_return)}, {episode.episode_length:,} env steps"
        for episode in scene.episodes
    ]
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(CAPTION_HEIGHT / 2.6)
    draw.multiline_text((6, 3), "\n".join([scene.caption, *ended]), "black", font, spacing=2)
    return picture


def _side_by_side(pictures: Sequence[Image.Image], columns: int) -> Frame:
    """Return pictures of one size in rows of so many."""
    width, height = pictures[0].size
    whole = Image.new("RGB", (columns * width, math.ceil(len(pictures) / columns) * height), "white")
    for number, picture in enumerate(pictures):
        whole.paste(picture, (number % columns * width, number // columns * height))
    return np.asarray(whole)


@contextmanager
def _without_a_screen() -> Iterator[None]:
    """Within the block SDL, which is to show and play nothing, does not look for a screen or a sound card."""
    told = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
    if sys.platform == "linux" and "MUJOCO_GL" not in os.environ:
        told["MUJOCO_GL"] = "egl"  # MuJoCo's way of its own to draw without a screen
    before = {name: os.environ.pop(name) for name in told if name in os.environ}
    os.environ.update(told)
    try:
        yield
    finally:
        for name in told:
            del os.environ[name]
        os.environ.update(before)


def _steps(envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int], episodes: list[Episode]) -> Iterator[bool]:
    """Play an episode for each seed, append it to `episodes`, and yield at its start and each step whether it ended."""
    for seed in seeds:
        for finished in play(envs, policy, [seed]):
            episodes += finished
            yield bool(finished)


def _frames(envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int], episodes: list[Episode]) -> Iterator[Frame]:
    """Do what `_steps` does and yield what is drawn, and seen, the end of each episode for about a second.

    Raises PpocliError.
    """
    shape = None
    for has_ended in _steps(envs, policy, seeds, episodes):
        frame = envs.render()
        if shape not in (None, frame.shape):
            raise PpocliError(
                f"{envs.env_id}: a frame of shape {shape}, the next of {frame.shape}: those of a film are of one size"
            )
        shape = frame.shape
        frame = with_inset(frame, envs.obs_spec, envs.shown)
        yield from [frame] * (max(1, round(envs.frames_per_second)) if has_ended else 1)


def _write_mp4(output: Path, frames: Iterator[Frame], fps: float, small: bool) -> None:
    """Let ffmpeg write frames as they come. Raises PpocliError where it does not."""
    first = next(frames)
    size, width = f"{first.shape[1]}x{first.shape[0]}", f"min({SMALL_WIDTH}\\,iw)" if small else "iw"
    taken = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), "-i", "-"]
    # Even numbers of pixels: yuv420p, which every browser plays, has one colour for each square of four.
    coding = ["-pix_fmt", "yuv420p", "-vf", f"scale=ceil({width}/2)*2:-2", "-crf", "30" if small else "25"]
    options = ["-y", "-v", "error", *taken, *coding, "-movflags", "+faststart", str(output)]
    with tempfile.TemporaryFile() as log:
        try:
            ffmpeg = subprocess.Popen([get_ffmpeg_exe(), *options], stdin=subprocess.PIPE, stdout=log, stderr=log)
        except (OSError, RuntimeError) as error:
            raise _ffmpeg_error(getattr(error, "strerror", str(error))) from error
        assert ffmpeg.stdin is not None
        with ffmpeg, suppress(BrokenPipeError), ffmpeg.stdin:  # if it dies, its status tells
            for frame in chain([first], frames):
                ffmpeg.stdin.write(frame.tobytes())
        log.seek(0)
        said = log.read().decode(errors="replace").splitlines()
    if ffmpeg.returncode or not output.stat().st_size:
        raise _ffmpeg_error(said[0] if said else f"exit status {ffmpeg.returncode} without a whole film")


def _ffmpeg_error(why: str) -> PpocliError:
    named = os.environ.get("IMAGEIO_FFMPEG_EXE")
    advice = f" (IMAGEIO_FFMPEG_EXE is {named}; unset it to use the ffmpeg that came with ppocli)" if named else ""
    return PpocliError(f"no mp4 can be written, as ffmpeg failed: {why}{advice}")


def _write_gif(output: Path, frames: Iterator[Frame], fps: float) -> None:
    hundredths = max(2, round(100 / fps))  # GIF's unit of time; viewers slow down anything below 2
    pictures = map(Image.fromarray, frames)
    next(pictures).save(output, save_all=True, append_images=pictures, duration=10 * hundredths, loop=0)


def show(envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int]) -> list[Episode]:
    """Play an episode for each seed in a window; `envs` draw `human`. Raises PpocliError where no window can open."""
    episodes: list[Episode] = []
    with threads(envs.obs_spec.threads):
        for _ in _steps(envs, policy, seeds, episodes):
            _check_window()
    return episodes


def check_display() -> None:
    """Raise PpocliError where no window can open."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform == "linux" and not any(map(os.environ.get, displays)):
        raise PpocliError(_NO_DISPLAY)


def _check_window() -> None:
    """SDL draws into nothing, and says nothing, when the display that the environment names does not answer."""
    pygame = sys.modules.get("pygame")
    if pygame is None or "SDL_VIDEODRIVER" in os.environ or not pygame.display.get_init():
        return
    if pygame.display.get_driver() in ("dummy", "offscreen"):
        raise PpocliError(_NO_DISPLAY)
