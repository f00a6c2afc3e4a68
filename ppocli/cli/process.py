"""What is global to the process: streams, signals, the garbage collector, what a user has imported."""

import gc
import os
import sys
import tempfile
import threading
import tomllib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from io import UnsupportedOperation
from pathlib import Path
from typing import Any

import typer

from ppocli.errors import PpocliError, PpocliWarning, UsageError
from ppocli.guests import IMPORTED, import_modules
from ppocli.signals import SIGPIPE, end_at_once, handling

_MOST_PRINTED = 10_000_000  # bytes that are looked at


def fail(message: str, exit_code: int, frames: str = "") -> int:
    """Say in one line what is wrong, below the traceback of a user's own code; return the exit code."""
    from ppocli.views import console

    with suppress(OSError):
        print(f"{frames}error: {console.from_here(message)}", file=sys.stderr)
    return exit_code


def make_streams_safe() -> None:
    """Let every stream lead somewhere, and hold every character.

    One that is closed would give its number to the next file that is opened, which would then get what is meant for it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def flushed(exit_code: int) -> int:
    """Return the exit code, or another where what was printed does not get through, of which Python would complain."""
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout:
                exit_code = exit_code or _unprinted(error)
    return exit_code


def _unprinted(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):  # nobody is there to be told
        return 128 + SIGPIPE
    return fail(f"stdout: {error.strerror}", 1)


def hosting(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that is a host to a user's code: its paths and its stdout stay its own, whatever that does."""

    @wraps(command)
    def hosted(**options: Any) -> None:
        from ppocli.views import console

        try:
            console.began_in = Path.cwd()
        except OSError as error:
            raise PpocliError(f"the working directory: {error.strerror}; go to one that is there") from error
        warnings.simplefilter("always", PpocliWarning)
        warnings.showwarning = _show_once()
        with _stdout_for_results():
            command(**{key: value.absolute() if isinstance(value, Path) else value for key, value in options.items()})

    return hosted


def _show_once() -> Any:
    """Return what shows warnings, ours as one line and each of them once."""
    from ppocli.views import console

    shown = set()

    def show(message: Warning | str, category: type[Warning], file: str, line: int, *_: Any) -> None:
        if not issubclass(category, PpocliWarning):
            sys.stderr.write(warnings.formatwarning(message, category, file, line))
        elif str(message) not in shown:
            shown.add(str(message))
            console.info(f"warning: {message}")

    return show


@contextmanager
def _stdout_for_results() -> Iterator[None]:
    """Within the block only results go to stdout; what environments print, or programs of theirs, goes to stderr."""
    from ppocli.views import console

    stdout = results = sys.stdout
    descriptor, threads = None, set(threading.enumerate())
    with suppress(OSError, UnsupportedOperation):  # it may be no file: within a program that captures it
        stdout.flush()
        descriptor = os.dup(stdout.fileno())
        results = os.fdopen(os.dup(descriptor), "w", encoding=stdout.encoding, errors="replace")
        os.dup2(2, stdout.fileno())
    console.out.file, sys.stdout = results, sys.stderr
    try:
        yield
    finally:
        console.out.file, sys.stdout = None, stdout  # type: ignore[assignment]  # whatever stdout is by then
        try:
            results.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), results.fileno())
            # Where a hang-up took the terminal along, that is what to report.
            if not getattr(error.__context__, "exit_code", 0):
                raise typer.Exit(_unprinted(error)) from error
        finally:
            if descriptor is not None:
                if threads.issuperset(threading.enumerate()):  # one that an environment left behind prints on
                    os.dup2(descriptor, stdout.fileno())
                os.close(descriptor)
                results.close()


@contextmanager
def what_is_printed() -> Iterator[Callable[[], str]]:
    """Within the block keep what environments, or programs of theirs, print; yield what returns it so far."""
    before, descriptor = sys.stdout, os.dup(1)
    with tempfile.TemporaryFile("a+b") as kept, os.fdopen(os.dup(kept.fileno()), "w", errors="replace") as stdout:

        def printed() -> str:
            stdout.flush()
            kept.seek(0)  # for reading: what is written goes to the end
            return kept.read(_MOST_PRINTED).decode(errors="replace")

        os.dup2(kept.fileno(), 1)
        sys.stdout = stdout
        try:
            yield printed
        finally:
            sys.stdout = before
            os.dup2(descriptor, 1)
            os.close(descriptor)


def imports_of(named: Sequence[str] | None) -> list[str]:
    """Return what to import: what `pyproject.toml` in the working directory lists, and what --import names.

    Raises UsageError. Nothing that stands in a run or a config is ever imported.
    """
    path, listed = Path("pyproject.toml"), []
    if path.is_file():
        with suppress(OSError, ValueError):  # of another's making
            listed = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("ppocli", {}).get("import", [])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise UsageError('pyproject.toml: [tool.ppocli] import must be a list of modules, such as ["my_task"]')
    return list(dict.fromkeys([*listed, *(named or ())]))


def require_imports(*runs: Any) -> None:
    """Raise UsageError where nobody has imported what registers the environment of a run."""
    import gymnasium as gym

    for run in runs:
        here = [known.module for known in IMPORTED]
        missing = [known.name for known in run.info.imports if known.module not in here]
        if missing and run.config.env.id not in gym.registry:
            options = " ".join(f"--import {name}" for name in missing)
            raise UsageError(f"{run.config.env.id} is registered by what its run was trained with: add {options}")


@contextmanager
def importing(what: str = "Starting") -> Iterator[None]:
    """Say in a terminal that something is being imported, and keep the garbage collector away: it all stays to the end.

    A signal ends the process at once: torch cannot be interrupted while it is imported, and would crash.
    """
    from ppocli.views import console

    os.environ.pop("MPLBACKEND", None)  # no window is drawn in, and one that matplotlib does not know it takes amiss
    with console.working(what), handling(end_at_once):
        gc.disable()
        try:
            yield
        finally:
            gc.freeze()  # nor need it be looked through at exit
            gc.enable()


def let_threads_wait(*, idly: bool) -> None:
    """Say, before torch is imported here or in a child, how its threads are to wait for what comes next.

    Busily they are there at once. But several trainings beside each other then wait for threads that have no core, and
    take four times as long; and one training's threads take the core that its environments are stepped on. So in one
    they wait busily for about as long as between two operations, some microseconds: 8 % more env steps a second on
    Atari. Whoever has set either variable has chosen otherwise.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ.update({"OMP_WAIT_POLICY": "PASSIVE"} if idly else {"GOMP_SPINCOUNT": "3000"})


def found_checkpoint(target: str, runs_dir: Path, imports: list[str] | None) -> tuple[Any, Any]:
    """Return the checkpoint that RUN|CHECKPOINT means, and its run where it has one, once its modules are imported."""
    from ppocli.records import catalog, checkpoint
    from ppocli.views import console

    path, run = catalog.find_checkpoint(target, runs_dir)
    saved = checkpoint.load(path)
    import_modules(imports_of(imports))
    if run is None:
        return saved, None
    require_imports(run)
    if saved.is_of(run.config):
        return saved, run
    whose = f"{saved.config.env.id}, seed {saved.config.train.seed}"
    console.info(f"warning: {path} is of another run ({whose}): nothing is written to this one")
    return saved, None
