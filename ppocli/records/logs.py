"""The two logs of a run, `metrics.csv` and `episodes.csv`: their rows, and how they are written and read."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ppocli.envs.api import LARGEST
from ppocli.envs.episodes import Episode
from ppocli.errors import RunError
from ppocli.files import naming, open_log, regular


@dataclass(frozen=True)
class Metrics:
    """A row of `metrics.csv`, one an iteration. All but the time columns (`*seconds`, `*per_second`) are reproducible.

    Means of no episode, of an evaluation that did not take place, and what there is no such thing of in an algorithm's
    update, are None and stand as an empty cell.
    """

    iteration: int
    env_steps: int
    seconds: float
    env_steps_per_second: float
    rollout_seconds: float
    update_seconds: float
    evaluation_seconds: float
    episodes: int
    return_mean: float | None
    return_min: float | None
    return_max: float | None
    length_mean: float | None
    policy_loss: float | None
    value_loss: float | None
    entropy: float | None
    approx_kl: float | None
    clip_fraction: float | None
    explained_variance: float | None
    gradient_norm: float | None
    learning_rate: float
    eval_return_mean: float | None
    success_rate: float | None = None  # share of the episodes whose last info had a true `is_success`
    value_target_std: float | None = None  # standard deviation of what the critic learns, from rewards as scaled
    saturated_actions: float | None = None  # share of the bounded real-valued actions that were drawn beyond ± 1
    kl: float | None = None  # from the policy before the update to that after it
    step_length: float | None = None  # of the policy's weights in a natural gradient's step
    line_search_steps: int | None = None  # how often TRPO tried it out
    info: Mapping[str, float] = field(default_factory=dict)  # means of the info keys, each a column; see success_rate


@dataclass(frozen=True)
class LoggedEpisode:
    """A row of `episodes.csv`, the reward log: one a training episode."""

    episode: int  # counted from 1, in the order in which they ended
    env_steps: int
    seconds: float  # when the rollout that it ended in was over
    environment: int
    seed: int
    episode_return: float
    episode_length: int
    terminated: bool
    truncated: bool
    info: Mapping[str, float] = field(default_factory=dict)  # of the info keys, each of which has a column of its own


def logged_episodes(episodes: Sequence[Episode], before: int, seconds: float) -> list[LoggedEpisode]:
    """Return the rows of episodes that ended in the rollout that was over at `seconds`, after `before` others."""
    return [
        LoggedEpisode(episode=number, seconds=seconds, **vars(episode))
        for number, episode in enumerate(episodes, start=before + 1)
    ]


R = TypeVar("R", Metrics, LoggedEpisode)
_INFO = "info."  # what the column of an info key is called begins with it


def _number(kind: type, text: str) -> Any:
    number = kind(text)
    if not abs(number) <= LARGEST:  # which NaN is not, either
        raise ValueError(f"{text[:20]} is no finite number that can be dealt with")
    return number


_READERS: dict[Any, Any] = {
    int: partial(_number, int),
    int | None: lambda text: _number(int, text) if text else None,
    float: partial(_number, float),
    float | None: lambda text: _number(float, text) if text else None,
    bool: {"True": True, "False": False}.__getitem__,
}


def read_log(path: Path, row: type[R]) -> list[R]:
    """Return a log's rows, without a half-written last one; a missing column reads as its default. Raises RunError."""
    with _refusing_what_is_no_log(path):
        if not (text := regular(path).read_text(encoding="utf-8")):  # of a run of version 0.1 that has just begun
            return []
        header, *lines = csv.reader(text.rpartition("\n")[0].splitlines() or [""])
        columns = [(known.name, header.index(known.name), _READERS[known.type]) for known in _known(header, row)]
        infos = [(name.removeprefix(_INFO), place) for place, name in enumerate(header) if name.startswith(_INFO)]
        return [
            row(
                **{name: read(line[place]) for name, place, read in columns},
                info={key: _number(float, line[place]) for key, place in infos if line[place]},
            )
            for line in lines
        ]


def _known(header: Sequence[str], row: type[R]) -> list[Field[Any]]:
    """Return the fields that a log has a column for. Raises ValueError where one without a default is missing."""
    if absent := [known.name for known in _columns(row) if known.name not in header and known.default is MISSING]:
        raise ValueError(f"it has no column {absent[0]}")
    return [known for known in _columns(row) if known.name in header]


def _columns(row: type[R]) -> list[Field[Any]]:
    """Return the fields that are a column: an info is several, or none."""
    return [known for known in fields(row) if known.name != "info"]


@contextmanager
def _refusing_what_is_no_log(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot read it: {error.strerror}") from error
    except (ValueError, LookupError, csv.Error) as error:
        raise RunError(f"{path}: not a log that ppocli wrote: {error}") from error


class Log:
    """A log that is written, under the columns that it began with. Each method may raise OSError."""

    def __init__(self, path: Path, row: type[R], length: int, info_keys: Sequence[str] = ()) -> None:
        """Open a log to append to, truncated to `length` bytes; with 0, begin it anew. Raises RunError."""
        self._columns = [*(known.name for known in _columns(row)), *(f"{_INFO}{key}" for key in info_keys)]
        self._file = open_log(path)
        try:
            if (now := os.fstat(self._file.fileno()).st_size) < length:
                counted = f"{now:,} bytes, but the checkpoint counts on {length:,}"
                raise RunError(f"{path}: {counted}: some of its rows are gone")
            if length:
                with _refusing_what_is_no_log(path), path.open(newline="", encoding="utf-8") as file:
                    self._columns = next(csv.reader(file))
                    _known(self._columns, row)
            with naming(path):
                self._file.truncate(length)
                if not length:
                    csv.writer(self._file).writerow(self._columns)
                    self._file.flush()  # a run is read before its first iteration is over
        except BaseException:
            self._file.close()
            raise

    def append(self, rows: Sequence[Metrics | LoggedEpisode]) -> None:
        """Write rows to its end, and hand them to the system. A column that only later versions know stays empty."""
        cells = [{f"{_INFO}{key}": value for key, value in row.info.items()} | vars(row) for row in rows]
        csv.writer(self._file).writerows([own.get(name, "") for name in self._columns] for own in cells)
        self._file.flush()

    def sync(self) -> int:
        """Make it durable; return its length in bytes."""
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close its file."""
        self._file.close()
