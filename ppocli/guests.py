"""A user's own code: imported on request, and told of with its own file and line when it fails.

What is told has no frame of ours, nor of what Gymnasium wraps around an environment: neither says where the mistake is.
"""

import hashlib
import importlib
import re
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException, extract_tb
from types import ModuleType
from typing import Any

from ppocli.errors import PpocliError, UsageError

FAILURES = (Exception, SystemExit)
"""What a user's code may end with; all of it is a mistake there, and nothing that ends us."""

_HOSTS = re.compile(
    rf"{re.escape(str(Path(__file__).parent))}[/\\]"  # we, what Gymnasium wraps around environments, what imports
    r"|.*[/\\]gymnasium[/\\](core\.py|wrappers|envs[/\\]registration\.py)|<frozen |.*[/\\]importlib[/\\]__init__\.py"
)
_LIBRARIES = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib"))


@dataclass(frozen=True)
class Imported:
    """What the user asked to be imported: a module's name or a file's path, and the digest of its code."""

    name: str
    digest: str

    @property
    def module(self) -> str:
        """What it is called in Python, however it was named."""
        return Path(self.name).stem if self.name.endswith(".py") else self.name


IMPORTED: list[Imported] = []
"""What of the user's own this process has imported, as `sys.modules` has it all."""


def is_imported(package: str) -> bool:
    """Whether the user asked for a package, or a module of it, to be imported."""
    return package in {known.module.partition(".")[0] for known in IMPORTED}


def import_modules(names: Sequence[str]) -> None:
    """Import modules, from the working directory too, and files by their paths. Raises UsageError."""
    if names and (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    for name in dict.fromkeys(names):
        before = set(sys.modules)
        try:
            module = _import_file(name) if name.endswith(".py") else importlib.import_module(name)
        except UsageError:
            raise
        except FAILURES as error:
            if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
                raise UsageError(f"--import {name}: there is no such module, here or installed") from None
            message, frames = told(error)
            raise UsageError(f"--import {name}: {message}", frames) from None
        if name not in [known.name for known in IMPORTED]:
            IMPORTED.append(Imported(name, _digest(module, set(sys.modules) - before)))


def _import_file(name: str) -> ModuleType:
    """Import a file as Python does that runs it: with its folder first among those that modules are looked for in."""
    path = Path(name).resolve()
    if not path.is_file():
        raise UsageError(f"--import {name}: there is no such file")
    sys.path.insert(0, str(path.parent))
    module = importlib.import_module(path.stem)
    if Path(module.__file__ or "").resolve() != path:
        raise UsageError(f"--import {name}: another module is called {path.stem}; give the file another name")
    return module


def _digest(module: ModuleType, brought: set[str]) -> str:
    """Return the digest of a module's code: its package's, or that of its file and what it `brought` from beside it."""
    top = sys.modules[module.__name__.partition(".")[0]]
    folder = Path(top.__file__ or module.__file__ or "").parent
    if hasattr(top, "__path__"):
        files = set(folder.rglob("*.py"))
    else:
        named = (getattr(sys.modules.get(name), "__file__", None) for name in brought)
        beside = {Path(file) for file in named if file and not file.startswith(_LIBRARIES)}
        files = {Path(module.__file__ or ""), *(file for file in beside if file.is_relative_to(folder))}
    known = hashlib.sha256()
    for file in sorted(filter(Path.is_file, files)):
        known.update(f"{file.relative_to(folder).as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return known.hexdigest()


class UnexpectedError(Exception):
    """A user's code has given something that it should not; the message says what."""


def blame(error: BaseException, who: str, when: str, method: Any = None) -> PpocliError:
    """Return what to raise for an error of a user's code: who it was, what it did, where in its code, and when.

    Where the error comes from what the code gave rather than from within it, its place is that of the `method`.
    """
    what, frames = (str(error), "") if isinstance(error, UnexpectedError) else told(error)
    if not frames and (code := getattr(method, "__code__", None)):
        what += f" ({Path(code.co_filename).name}:{code.co_firstlineno}, {code.co_name})"
    return PpocliError(f"{who}: {what}, {when}", frames)


def told(error: BaseException) -> tuple[str, str]:
    """Return what an error of a user's code says and where it was raised, and the traceback of that code alone."""
    while not _own_frames(error) and error.__cause__ is not None:  # Gymnasium wraps some of a constructor's
        error = error.__cause__
    what = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
    frames = _own_frames(error)
    if not frames and not isinstance(error, SyntaxError):  # which says itself where it is
        return what, ""
    users = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)] or frames
    where = f" ({Path(users[-1].filename).name}:{users[-1].lineno}, in {users[-1].name})" if users else ""
    whole = TracebackException.from_exception(error)
    part: TracebackException | None = whole
    while part is not None:
        part.stack = StackSummary.from_list([frame for frame in part.stack if not _HOSTS.match(frame.filename)])
        part = part.__cause__ or (None if part.__suppress_context__ else part.__context__)
    return what.removesuffix(": ") + where, "".join(whole.format())


def _own_frames(error: BaseException) -> list[FrameSummary]:
    return [frame for frame in extract_tb(error.__traceback__) if not _HOSTS.match(frame.filename)]
