"""Pictures of an episode: a video file without any display, or a window."""

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import imageio

from ppocli.envs.episodes import Episode
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.errors import PpocliError, UsageError
from ppocli.evaluate import Policy, play

FORMATS = (".mp4", ".gif")


def record(envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int], output: Path) -> list[Episode]:
    """Play an episode for each seed, one after the other, and write them as one video; `envs` draw `rgb_array`.

    Raises OSError when the file cannot be written.
    """
    # Nothing is shown or heard, so that SDL need not look for a screen or a sound card and complain.
    os.environ.update(SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy")
    output.parent.mkdir(parents=True, exist_ok=True)
    episodes: list[Episode] = []
    with closing(_writer(output, envs.frames_per_second)) as writer:
        for seed in seeds:
            for finished in play(envs, policy, [seed]):
                writer.append_data(envs.render())
                episodes += finished
    return episodes


def show(envs: GymnasiumVectorEnv, policy: Policy, seeds: Sequence[int]) -> list[Episode]:
    """Play an episode for each seed in a window; `envs` draw `human`."""
    return [episode for seed in seeds for finished in play(envs, policy, [seed]) for episode in finished]


def check_output(output: Path) -> None:
    """Raise UsageError unless the file's name says a format that can be written."""
    if output.suffix.lower() not in FORMATS:
        raise UsageError(f"--output {output}: the name must end in {' or '.join(FORMATS)}")


def check_display() -> None:
    """Raise PpocliError where no window can open."""
    if sys.platform == "linux" and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    ):
        raise PpocliError("--human needs a display and there is none here; leave --human out to get a video file")


def _writer(output: Path, frames_per_second: float) -> Any:
    if output.suffix.lower() == ".gif":
        return imageio.get_writer(output, duration=1000 / frames_per_second, loop=0)
    return imageio.get_writer(
        output,
        fps=frames_per_second,
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-movflags", "+faststart"],
    )
