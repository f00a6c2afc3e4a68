"""Writing files so that a reader, or a crash, never meets half of one."""

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from ppocli.errors import PpocliError, RunError, UsageError

_TEMPORARY = ".{name}.{random}.tmp"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError that leaves the block say which file it is about: a write that fails does not by itself."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def regular(path: Path) -> Path:
    """Return the path, unless something lies there that is no file and may never end. Raises RunError."""
    if path.exists() and not path.is_file():
        raise RunError(f"{path}: not a file")
    return path


def is_writable(folder: Path) -> bool:
    """Whether this user may put files into a folder."""
    return os.access(folder, os.W_OK)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at any moment it is whole, old or new, even if the machine stops. Raises OSError."""
    temporary = path.with_name(_TEMPORARY.format(name=path.name, random=secrets.token_hex(4)))
    with naming(path):
        try:
            with temporary.open("xb") as file:  # x: never through a link that somebody has put there
                write_whole(file, content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_whole(file: BinaryIO, content: bytes) -> None:
    """Write to a file that is open, down to the disk. Raises OSError."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def remove_leftovers(path: Path) -> None:
    """Remove what writes of a file, or of all of a pattern, left beside it when they were killed.

    Only for the one who writes it.
    """
    for temporary in path.parent.glob(_TEMPORARY.format(name=path.name, random="*")):
        temporary.unlink(missing_ok=True)


def open_log(path: Path) -> TextIO:
    """Open a file to append text to; never through a link, which in a directory from a stranger leads anywhere."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with naming(path):
        return os.fdopen(os.open(path, flags, 0o666), "a", newline="", encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can (Windows cannot)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def to_json(values: Any, indent: int | None = None) -> str:
    """Return values as JSON, dataclasses as objects, paths as text; NaN is refused."""
    return json.dumps(values, indent=indent, allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    return vars(value) if is_dataclass(value) else os.fspath(value)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file for people and programs; NaN is refused. Raises OSError."""
    write_atomically(path, (to_json(values, indent=2) + "\n").encode())


def check_output(output: Path, suffixes: Sequence[str]) -> None:
    """Raise UsageError unless `--output` names a file of one of these kinds."""
    if output.suffix.lower() not in suffixes:
        endings = " or ".join(filter(None, [", ".join(suffixes[:-1]), suffixes[-1]]))
        raise UsageError(f"--output {output.name}: the name must end in {endings}")
    if output.is_dir():
        raise UsageError(f"--output {output.name}: this is a folder; name a file")


@contextmanager
def placing(output: Path) -> Iterator[None]:
    """Make the folder for `output`; an OSError in the block becomes a PpocliError that says what to do."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise PpocliError(f"{output}: cannot write there ({error.strerror}); choose another --output") from error
