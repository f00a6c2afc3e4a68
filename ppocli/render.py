"""Pictures of an episode: a video file without any display, or a window."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import imageio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ppocli.envs.episodes import Episode
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.errors import PpocliError, UsageError
from ppocli.evaluate import Policy, play

FORMATS = (".mp4", ".gif")
SMALL_WIDTH = 400
"""Pixels that a small video is wide at most."""
_NO_DISPLAY = "--human needs a display and there is none here; leave --human out to get a video file"


def record(
    envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int], output: Path, *, small: bool = False
) -> list[Episode]:
    """Play an episode for each seed, one after the other, and write them as one video; `envs` draw `rgb_array`.

    A file that is there already is replaced once the new one is whole. A `small` mp4 has a width and a quality for
    pages rather than screens. Raises PpocliError when it cannot be written.
    """
    # Nothing is shown or heard, so that SDL need not look for a screen or a sound card and complain.
    os.environ.update(SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy")
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo's way of its own to draw without a screen
    partial = output.with_name(f".{output.stem}.partial{output.suffix}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()  # where the folder is read-only, this says so more clearly than ffmpeg
    except OSError as error:
        raise PpocliError(f"{output}: cannot write there ({error.strerror}); choose another --output") from error
    episodes: list[Episode] = []
    frames = _frames(envs, policy, seeds, episodes)
    try:
        if output.suffix.lower() == ".gif":
            _write_gif(partial, frames, envs.frames_per_second)
        else:
            _write_mp4(partial, frames, envs.frames_per_second, small)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return episodes


def _frames(
    envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int], episodes: list[Episode]
) -> Iterator[NDArray[np.uint8]]:
    """Play, yield the picture (height, width, 3) after every step, and append what has finished to `episodes`."""
    for seed in seeds:
        for finished in play(envs, policy, [seed]):
            episodes += finished
            yield envs.render()


def _write_mp4(output: Path, frames: Iterator[NDArray[np.uint8]], frames_per_second: float, small: bool) -> None:
    # Even numbers of pixels: yuv420p, which every browser plays, has one colour for each square of four.
    scale = ["-vf", f"scale=trunc(min({SMALL_WIDTH}\\,iw)/2)*2:-2"] if small else []
    writer = imageio.get_writer(
        output,
        fps=frames_per_second,
        quality=4 if small else 5,  # crf 30 and 25
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-movflags", "+faststart", *scale],
    )
    with closing(writer):
        for frame in frames:
            writer.append_data(frame)


def _write_gif(output: Path, frames: Iterator[NDArray[np.uint8]], frames_per_second: float) -> None:
    hundredths = max(2, round(100 / frames_per_second))  # GIF's unit of time; viewers slow down anything below 2
    pictures = map(Image.fromarray, frames)
    next(pictures).save(output, save_all=True, append_images=pictures, duration=10 * hundredths, loop=0)


def show(envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int]) -> list[Episode]:
    """Play an episode for each seed in a window; `envs` draw `human`. Raises PpocliError where no window can open."""
    episodes: list[Episode] = []
    for seed in seeds:
        for finished in play(envs, policy, [seed]):
            _check_window()
            episodes += finished
    return episodes


def check_output(output: Path) -> None:
    """Raise UsageError unless the name is one that a video can be written to."""
    if output.suffix.lower() not in FORMATS:
        raise UsageError(f"--output {output}: the name must end in {' or '.join(FORMATS)}")
    if output.is_dir():
        raise UsageError(f"--output {output}: this is a folder; name a file")


def check_display() -> None:
    """Raise PpocliError where no window can open."""
    if sys.platform == "linux" and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    ):
        raise PpocliError(_NO_DISPLAY)


def _check_window() -> None:
    """SDL draws into nothing, and says nothing, when the display that the environment names does not answer."""
    pygame = sys.modules.get("pygame")
    if pygame is None or "SDL_VIDEODRIVER" in os.environ or not pygame.display.get_init():
        return
    if pygame.display.get_driver() in ("dummy", "offscreen"):
        raise PpocliError(_NO_DISPLAY)
