"""What environments give: numbers, flags and pictures of any type that means one, and not what only passes for one."""

import decimal
import math
import numbers
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.envs.api import LARGEST
from ppocli.guests import UnexpectedError

_NUMBERS = (float, int, np.number, np.bool_)


def described(value: Any) -> str:
    """Return a value in short, an array and a single number by its shape."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return f"{reprlib.repr(value)} of shape {np.shape(value)}" if np.isscalar(value) else reprlib.repr(value)


def begun(given: Any) -> tuple[Any, Mapping[str, Any]]:
    """Return the observation and the info that `reset` gave. Raises UnexpectedError."""
    if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping)):
        raise UnexpectedError(f"reset() gave {reprlib.repr(given)}")
    return given


def number(value: Any, name: str) -> float:
    """Return a number, or the only one in an array. Raises UnexpectedError."""
    if not isinstance(value, _NUMBERS):
        try:
            only = value.item() if hasattr(value, "item") else np.asarray(value).item()
        except (ValueError, RuntimeError):  # there are several
            only = None
        if not isinstance(only, numbers.Real | decimal.Decimal):
            raise UnexpectedError(f"its {name} is {reprlib.repr(value)}, and no number")
        value = only
    return float(value)


def number_or_nan(value: Any) -> float:
    """Return a number, or NaN for what is none, or beyond what is learned from and drawn."""
    try:
        found = number(value, "info")
    except (UnexpectedError, OverflowError):
        return math.nan
    return found if abs(found) <= LARGEST else math.nan


def flag(value: Any, name: str) -> bool:
    """Return a truth value, which 0 and 1 are, too. Raises UnexpectedError."""
    if value is True or value is False:
        return value
    if number(value, name) not in (0, 1):
        raise UnexpectedError(f"its {name} is {value!r}, and neither true nor false")
    return bool(value)


def picture(frame: Any) -> NDArray[np.uint8]:
    """Return a frame as (height, width, 3). Raises UnexpectedError.

    Brightness from 0 to 1 becomes 0 to 255, grey becomes three colours, and how transparent it is does not count.
    """
    array = np.asarray(frame)
    if array.dtype.kind in "bf" and array.size and array.min() >= 0 and array.max() <= 1:
        array = (array * 255).round()
    array = array[:, :, np.newaxis] if array.ndim == 2 else array
    is_picture = array.ndim == 3 and array.shape[2] in (1, 3, 4) and array.size and array.dtype.kind in "iuf"
    if not is_picture or array.min() < 0 or array.max() > 255:
        given = described(array if array.ndim else frame)
        raise UnexpectedError(f"render() gave {given}, and no picture, which is an array (height, width, 3) of uint8")
    colours = array.repeat(3, axis=2) if array.shape[2] == 1 else array[:, :, :3]
    return np.ascontiguousarray(colours, dtype=np.uint8)
