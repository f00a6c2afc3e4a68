"""What a policy looks at, small beside the frame that people see: a wrong crop or a black picture shows at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ppocli.envs.api import ObsSpec, Pictures

MARGIN = 2  # pixels between what is seen
_SHARE = 4  # one picture takes no more than this part of the frame's height


def with_inset(frame: NDArray[np.uint8], spec: ObsSpec, obs: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a frame (height, width, 3) with the pictures of an observation (*spec.shape) in a column to its right.

    The first is above: of a stack, the oldest. A frame stays as it is where there are none.
    """
    if not isinstance(spec, Pictures):
        return frame
    seen = [*_seen(spec, obs)]
    height, width = frame.shape[:2]
    each = max(1, height // max(len(seen), _SHARE) - MARGIN)
    column = [picture.resize((max(1, round(picture.width * each / picture.height)), each)) for picture in seen]
    whole = Image.new("RGB", (width + MARGIN + max(picture.width for picture in column), height), "white")
    whole.paste(Image.fromarray(frame), (0, 0))
    for place, picture in enumerate(column):
        whole.paste(picture, (width + MARGIN, place * (each + MARGIN)))
    return np.asarray(whole)


def _seen(spec: Pictures, obs: NDArray[Any]) -> Iterator[Image.Image]:
    """Yield each picture of an observation; three channels, or a multiple of three, are colours."""
    for place, form in zip(spec.places, spec.pictures, strict=True):
        channels = obs[place].reshape(form)
        if len(channels) % 3:
            yield from map(Image.fromarray, channels)
        else:
            yield from (
                Image.fromarray(colours) for colours in channels.reshape(-1, 3, *form[1:]).transpose(0, 2, 3, 1)
            )
