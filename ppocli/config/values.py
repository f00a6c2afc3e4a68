"""The types of the config's values: each has one check and one message, which names the whole allowed range."""

import math
import re
import reprlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Tag

SHORT = reprlib.Repr()  # for messages: YAML's aliases can make a value that is endless when it is written out
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 2, 60, 60
_MOST_VALUES = 10_000  # in one argument of an environment


def _must_be(words: str, accepts: Callable[[Any], object]) -> BeforeValidator:
    """Return the check that lets through what `accepts` is true of, and says of all else what it must be."""

    def check(value: Any) -> Any:
        if not accepts(value):
            raise ValueError(f"must be {words}")
        return value

    return BeforeValidator(check)


def _is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    try:
        is_finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False
    return is_finite and low <= value <= high


def whole_number(low: int, high: int, or_else: str = "") -> BeforeValidator:
    """Accept an integer from `low` to `high`, or one word; `1e6` is an integer, `true` and `"3"` are not."""
    words = (f"{or_else} or " if or_else else "") + f"a whole number from {low} to {high:,}"

    def accepts(value: Any) -> bool:
        return (_is_number(value, low, high) and value == int(value)) or bool(or_else and value == or_else)

    return _must_be(words, accepts)


def real_number(low: float, high: float) -> BeforeValidator:
    """Accept a finite number from `low` to `high`."""
    return _must_be(f"a finite number from {low:g} to {high:g}", lambda value: _is_number(value, low, high))


class Given(str):
    """Text that stood on the command line and not in a file: where it is a path, the user has chosen it."""

    __slots__ = ()


def _check_env_kwargs(value: Any) -> dict[str, Any]:
    checked = _check_arguments(value)
    if "render_mode" in checked:
        raise ValueError("must not set render_mode: training never draws, and `ppocli render` chooses its own")
    return checked


def _check_wrappers(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(wrapper, dict) for wrapper in value):
        raise ValueError("must be a list of wrappers, such as [{id: FrameStackObservation, stack_size: 4}]")
    for wrapper in value:
        _check_arguments(wrapper)
        if not isinstance(wrapper.get("id"), str) or not isinstance(wrapper.get("training_only", False), bool):
            raise ValueError("must have for each wrapper an id, a text, and perhaps training_only, true or false")
    return tuple(value)


def _check_arguments(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) and key.isidentifier() for key in value):
        raise ValueError("must be a mapping of argument names to values")
    for key, item in value.items():
        if not all(leaf is None or isinstance(leaf, bool | str) or _is_number(leaf) for leaf in leaves(item)):
            kinds = "numbers, true or false, null, text, and lists and mappings of these"
            raise ValueError(f"must hold only {kinds}; {key} is {SHORT.repr(item)}")
    return value


def leaves(value: Any) -> Iterator[Any]:
    """Yield what a value of lists and mappings holds in the end; a list where there is no end, which YAML can write."""
    waiting = [value]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        item = waiting.pop()
        if isinstance(item, dict) and all(isinstance(key, str) for key in item):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        else:
            yield item
    yield waiting


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a copy of a value of lists and mappings in which all text is changed."""
    if isinstance(value, dict):
        return {key: with_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [with_texts(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


Switch = Annotated[bool, _must_be("true or false", lambda value: isinstance(value, bool))]
Count = Annotated[int, whole_number(1, 10**12)]
Seed = Annotated[int, whole_number(0, 2**32 - 1)]
Finite = Annotated[float, _must_be("a finite number", _is_number)]
NonNegative = Annotated[float, real_number(0, 1e6)]
Positive = Annotated[float, _must_be("a finite number above 0", lambda value: _is_number(value) and value > 0)]
Fraction = Annotated[float, real_number(0, 1)]
EnvId = Annotated[
    str,
    _must_be(
        'a Gymnasium id such as "LunarLander-v3" (one that imports a module is not accepted: that is up to --import)',
        lambda value: isinstance(value, str) and re.fullmatch(r"[\w.-]+(/[\w.-]+)*", value),
    ),
]
EnvKwargs = Annotated[dict[str, Any], BeforeValidator(_check_env_kwargs)]
Wrapper = dict[str, Any]
"""The `id` of a class, whether it is `training_only`, and its arguments."""
Wrappers = Annotated[tuple[Wrapper, ...], BeforeValidator(_check_wrappers)]
InfoKeys = Annotated[
    tuple[str, ...],
    _must_be(
        "a list of names, such as [is_success]",
        lambda value: (
            isinstance(value, list | tuple) and all(isinstance(key, str) and key.isprintable() and key for key in value)
        ),
    ),
]
Workers = Annotated[int | Literal["auto"], whole_number(0, 64, or_else="auto")]
MemorySize = (
    Annotated[  # of an odd number, what comes of a sequence would depend on which others are computed beside it
        int,
        whole_number(1, 8192),
        _must_be("a multiple of 8 from 8 to 8,192", lambda value: _is_number(value, 8, 8192) and value % 8 == 0),
    ]
)
Snapshots = Annotated[int | Literal["auto"], whole_number(0, 1000, or_else="auto")]
HiddenSizes = Annotated[
    tuple[Annotated[int, whole_number(1, 8192)], ...],
    _must_be(
        "a list of at most 8 whole numbers, such as [64, 64]",
        lambda value: isinstance(value, list | tuple) and len(value) <= 8,
    ),
]


class Section(BaseModel):
    """A part of the config: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Schedule(Section):
    """A value that moves from `start` to `end` over training.

    `linear` moves evenly; `cosine` starts and ends gently, half a cosine wave (arXiv:1608.03983, eq. 5, one period).
    """

    start: NonNegative
    end: NonNegative
    shape: Literal["linear", "cosine"] = "linear"


def value_at(schedule: float | Schedule, progress: float) -> float:
    """Return the value at `progress`, the share of it in [0, 1] that is over; a plain number never changes."""
    if not isinstance(schedule, Schedule):
        return schedule
    remaining = 1.0 - progress if schedule.shape == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return schedule.end + (schedule.start - schedule.end) * remaining


# pydantic puts these into the place of an error, from where `load` takes them out again.
NUMBER, SCHEDULE = "<number>", "<schedule>"
NumberOrSchedule = Annotated[
    Annotated[float, Tag(NUMBER)] | Annotated[Schedule, Tag(SCHEDULE)],
    Discriminator(lambda value: SCHEDULE if isinstance(value, dict | Schedule) else NUMBER),
    _must_be(
        "a number from 0 to 1e6, or a schedule such as {start: 3e-4, end: 0}",
        lambda value: isinstance(value, dict | Schedule) or _is_number(value, 0, 1e6),
    ),
]
