"""The types of the config's values: each has one check and one message, which names the whole allowed range."""

import math
import re
import reprlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Tag

SHORT = reprlib.Repr()
"""For messages: YAML's aliases can make a value that is endless when it is written out."""
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 2, 60, 60


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def whole_number(low: int, high: int) -> BeforeValidator:
    """Accept an integer from `low` to `high`; `1e6` is one, `true` and `"3"` are not."""

    def check(value: Any) -> int:
        if not _is_number(value) or value != int(value) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high:,}")
        return int(value)

    return BeforeValidator(check)


def real_number(low: float, high: float = math.inf, *, above_low: bool = False) -> BeforeValidator:
    """Accept a finite number from `low` (or only above it) to `high`."""
    words = f"above {low:g}" if above_low else f"of at least {low:g}"
    if high < math.inf:
        words = f"{'above' if above_low else 'from'} {low:g} {'and at most' if above_low else 'to'} {high:g}"
    if low == -math.inf:
        words = ""

    def check(value: Any) -> float:
        if not _is_number(value) or not low <= value <= high or (above_low and value == low):
            raise ValueError(f"must be a finite number {words}".rstrip())
        return float(value)

    return BeforeValidator(check)


def _check_env_id(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", value):
        raise ValueError('must be a Gymnasium id such as "LunarLander-v3" (one that imports a module is not accepted)')
    return value


def _check_env_kwargs(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) and key.isidentifier() for key in value):
        raise ValueError("must be a mapping of argument names to values")
    if "render_mode" in value:
        raise ValueError("must not set render_mode: training never draws, and `ppocli render` chooses its own")
    for key, item in value.items():
        plain_word = isinstance(item, str) and re.fullmatch(r"[\w+-][\w +-]*", item)
        if not (isinstance(item, bool) or _is_number(item) or plain_word):
            raise ValueError(f"must hold only numbers, true or false, and plain words; {key} is {SHORT.repr(item)}")
    return value


def _check_workers(value: Any) -> Any:
    if value != "auto" and (not _is_number(value) or value != int(value) or not 0 <= value <= 64):
        raise ValueError("must be auto or a whole number from 0 to 64")
    return value if value == "auto" else int(value)


def _check_hidden_sizes(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) > 8:
        raise ValueError("must be a list of at most 8 whole numbers, such as [64, 64]")
    return tuple(value)


def _check_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


Switch = Annotated[bool, BeforeValidator(_check_switch)]
Count = Annotated[int, whole_number(1, 10**12)]
Seed = Annotated[int, whole_number(0, 2**32 - 1)]
Finite = Annotated[float, real_number(-math.inf)]
NonNegative = Annotated[float, real_number(0, 1e6)]
Positive = Annotated[float, real_number(0, above_low=True)]
Fraction = Annotated[float, real_number(0, 1)]
EnvId = Annotated[str, BeforeValidator(_check_env_id)]
EnvKwargs = Annotated[dict[str, bool | int | float | str], BeforeValidator(_check_env_kwargs)]
Workers = Annotated[int | Literal["auto"], BeforeValidator(_check_workers)]
HiddenSizes = Annotated[tuple[Annotated[int, whole_number(1, 8192)], ...], BeforeValidator(_check_hidden_sizes)]


class Section(BaseModel):
    """A part of the config: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Schedule(Section):
    """A value that moves from `start` to `end` over training; `ppocli.algorithm.schedules` says how."""

    start: NonNegative
    end: NonNegative
    shape: Literal["linear", "cosine"] = "linear"


def _check_scheduled(value: Any) -> Any:
    if isinstance(value, dict | Schedule):
        return value
    if not _is_number(value) or not 0 <= value <= 1e6:
        raise ValueError("must be a number from 0 to 1e6, or a schedule such as {start: 3e-4, end: 0}")
    return float(value)


def _kind(value: object) -> str:
    return SCHEDULE if isinstance(value, dict | Schedule) else NUMBER


# pydantic puts these into the place of an error, from where `load` takes them out again.
NUMBER, SCHEDULE = "<number>", "<schedule>"
NumberOrSchedule = Annotated[
    Annotated[float, Tag(NUMBER)] | Annotated[Schedule, Tag(SCHEDULE)],
    Discriminator(_kind),
    BeforeValidator(_check_scheduled),
]
