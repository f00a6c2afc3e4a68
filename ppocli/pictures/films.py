"""Pictures of an episode: a video file without any display, or a window."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import imageio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ppocli.algorithm.device import one_thread
from ppocli.envs.episodes import Episode
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.errors import PpocliError
from ppocli.evaluation.play import Policy, play
from ppocli.files import placing

FORMATS = (".mp4", ".gif")
SMALL_WIDTH = 400  # pixels that a small video is wide at most
_NO_DISPLAY = "--human needs a display and there is none here; leave --human out to get a video file"


def record(
    envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int], output: Path, *, small: bool = False
) -> list[Episode]:
    """Play an episode for each seed, one after the other, and write them as one video; `envs` draw `rgb_array`.

    A file that is there already is replaced once the new one is whole. A `small` mp4 has a width and a quality for
    pages rather than screens. Raises PpocliError when it cannot be written.
    """
    partial = output.with_name(f".{output.stem}.partial{output.suffix}")
    with placing(output):
        partial.touch()  # where the folder is read-only, this says so more clearly than ffmpeg
    episodes: list[Episode] = []
    frames = (envs.render() for _ in _steps(envs, policy, seeds, episodes))
    try:
        with _without_a_screen(), one_thread():
            if output.suffix.lower() == ".gif":
                _write_gif(partial, frames, envs.frames_per_second)
            else:
                _write_mp4(partial, frames, envs.frames_per_second, small)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return episodes


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


def _steps(envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int], episodes: list[Episode]) -> Iterator[None]:
    """Play an episode for each seed, pause after every step, and append what has finished to `episodes`."""
    for seed in seeds:
        for finished in play(envs, policy, [seed]):
            episodes += finished
            yield


def _write_mp4(output: Path, frames: Iterator[NDArray[np.uint8]], fps: float, small: bool) -> None:
    # Even numbers of pixels: yuv420p, which every browser plays, has one colour for each square of four.
    scale = ["-vf", f"scale=trunc(min({SMALL_WIDTH}\\,iw)/2)*2:-2"] if small else []
    quality = 4 if small else 5  # crf 30 and 25
    params = ["-movflags", "+faststart", *scale]
    writer = imageio.get_writer(
        output, fps=fps, quality=quality, macro_block_size=2, ffmpeg_log_level="error", output_params=params
    )
    with closing(writer):
        for frame in frames:
            writer.append_data(frame)


def _write_gif(output: Path, frames: Iterator[NDArray[np.uint8]], fps: float) -> None:
    hundredths = max(2, round(100 / fps))  # GIF's unit of time; viewers slow down anything below 2
    pictures = map(Image.fromarray, frames)
    next(pictures).save(output, save_all=True, append_images=pictures, duration=10 * hundredths, loop=0)


def show(envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int]) -> list[Episode]:
    """Play an episode for each seed in a window; `envs` draw `human`. Raises PpocliError where no window can open."""
    episodes: list[Episode] = []
    with one_thread():
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
