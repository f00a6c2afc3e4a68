"""The worker processes that play a share of the environments, and what they are told, over shared memory."""

import multiprocessing
import os
import pickle
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ppocli import children
from ppocli.config.sections import EnvConfig
from ppocli.envs.gymnasium import CLOSE_SECONDS, GymnasiumVectorEnv
from ppocli.envs.link import Link
from ppocli.errors import PpocliError, PpocliWarning
from ppocli.signals import leave_stop_signals_to_parent, let_stop_signals_in

NO_RESET = -1
OUTCOME = ["obs", "rewards", "terminated", "truncated", "infos"]  # what a step leads to, each a field of a row
_END = b"end"


class NoWorkersError(PpocliError):
    """There can be no worker processes for this environment, or on this machine."""


def row_of(envs: GymnasiumVectorEnv) -> np.dtype[Any]:
    """Return what the processes tell each other about one environment."""
    fields = [
        ("seed", np.int64),  # of the episode to start, else NO_RESET
        ("action", envs.action_spec.dtype, envs.action_spec.shape),
        ("rewards", np.float64),
        ("obs", envs.obs_spec.dtype, envs.obs_spec.shape),
        ("terminated", np.bool_),
        ("truncated", np.bool_),
        ("infos", np.float64, (len(envs.info_keys),)),
    ]
    return np.dtype(fields, align=True)


@dataclass(frozen=True)
class Share:
    """What a worker is told: which environments, and where it finds what concerns them."""

    made_from: bytes
    config: EnvConfig
    buffer: Any
    row: np.dtype[Any]
    part: slice


class Crew:
    """Worker processes, which several vectors of environments may share."""

    def __init__(self) -> None:
        self._workers: list[_Worker] = []

    def take(self, shares: Sequence[Share]) -> list["Taken"]:
        """Let a worker, which may have others already, take each of these shares, before they start."""
        while len(self._workers) < len(shares):
            self._workers.append(_Worker())
        return [worker.take(share) for worker, share in zip(self._workers, shares, strict=False)]

    def start(self) -> None:
        """Start the processes. Raises NoWorkersError."""
        try:
            for worker in self._workers:
                worker.start()
        except OSError as error:
            raise _none(error) from error

    def dismiss(self) -> None:
        """Tell all to close their environments and to end."""
        for worker in self._workers:
            worker.dismiss()

    def see_off(self) -> None:
        """Wait for the end of all. Those that do not close their environments in time are killed."""
        for worker in self._workers:
            worker.see_off()
        self._workers.clear()


@dataclass(frozen=True)
class Taken:
    """A share that a worker has taken."""

    worker: "_Worker"
    number: int  # among all that it has
    part: slice

    def begin(self) -> None:
        """Let the worker step, or start episodes."""
        self.worker.link.tell(bytes([self.number]))


class _Worker:
    """This process's end of a worker."""

    link: Link

    def __init__(self) -> None:
        self._shares: list[Share] = []
        self._process: SpawnProcess | None = None

    def take(self, share: Share) -> Taken:
        self._shares.append(share)
        return Taken(self, len(self._shares) - 1, share.part)

    def start(self) -> None:
        turns = shared_array("q", 2)
        with children.main_module_hidden():
            process, ours = children.start(_work, turns, self._shares)
        self.link = Link(ours, turns, 0)
        self._process = process  # last: a signal that comes before finds no worker, and it ends by itself

    def wait(self) -> None:
        """Wait until the worker has done what it was told. Raises what it raised, PpocliError when it has died."""
        assert self._process
        try:
            message = self.link.hear()
        except (EOFError, OSError) as error:
            cause = children.death(self._process, CLOSE_SECONDS)
            why = f"a worker process of the environments died: {cause}; env.workers=0 needs none of them"
            raise PpocliError(why) from error
        if message:
            raise pickle.loads(message)

    def dismiss(self) -> None:
        if self._process:
            self.link.tell(_END)  # as what an environment has forked may hold this end open
            self.link.connection.close()

    def see_off(self) -> None:
        if self._process:
            self._process.join(CLOSE_SECONDS + 1)
            self._process.kill()
            self._process.join()


def shared_array(kind: str, size: int) -> Any:
    """Return so many numbers of a kind in memory that processes share. Raises NoWorkersError."""
    try:
        return children.CONTEXT.RawArray(kind, size)
    except OSError as error:
        raise _none(error) from error


def _none(error: OSError) -> NoWorkersError:
    return NoWorkersError(f"no shared memory, or no worker processes: {error.strerror or error}")


def pickled(envs: GymnasiumVectorEnv) -> bytes:
    """Return what a worker makes the same environments from. Raises NoWorkersError."""
    spec = envs.spec
    try:
        with children.main_module_hidden():  # as it is from a worker, which could not find what stands there
            return pickle.dumps((spec, envs.wraps))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        code = spec.entry_point if spec else None
        name = f"{getattr(code, '__module__', '?')}.{getattr(code, '__qualname__', code)}"
        reason = f"{name}, which is not at the top of a module that they can import ({error})"
        raise NoWorkersError(f"worker processes cannot be given {reason}") from error


def _work(connection: Connection, turns: Any, shares: Sequence[Share]) -> None:
    """Be a worker process until the parent dismisses it or is no more."""
    leave_stop_signals_to_parent()  # a signal to the whole group is the parent's to answer
    let_stop_signals_in()
    warnings.simplefilter("ignore", PpocliWarning)  # which the parent gives of its own share
    threading.Thread(target=_die_with_parent, daemon=True).start()
    link = Link(connection, turns, 1)
    try:
        with ExitStack() as made, suppress(EOFError, OSError):
            rows = [np.frombuffer(share.buffer, share.row)[share.part] for share in shares]
            envs = [made.enter_context(closing(_envs(*both))) for both in zip(shares, map(len, rows), strict=True)]
            while (message := link.hear()) != _END:
                number = message[0]
                _do(envs[number], rows[number])
                link.tell()
    except PpocliError as error:
        link.tell(pickle.dumps(error))


def _envs(share: Share, num_envs: int) -> GymnasiumVectorEnv:
    try:
        spec, wraps = pickle.loads(share.made_from)
    except Exception as error:
        raise NoWorkersError(f"a worker process does not find the environment: {error}") from error
    if spec is not None:  # of an environment that perhaps only the parent has registered
        gym.registry.setdefault(spec.id, spec)
    return GymnasiumVectorEnv(share.config, num_envs, wraps=wraps)


def _do(envs: GymnasiumVectorEnv, rows: NDArray[Any]) -> None:
    """Start an episode in each environment whose row has a seed for one; where none has, step them all."""
    starting = np.flatnonzero(rows["seed"] >= 0)
    if len(starting):
        rows["obs"] = envs.reset(starting.tolist(), rows["seed"][starting].tolist())
        rows["seed"] = NO_RESET
    else:
        step = envs.step(rows["action"])
        for name in OUTCOME:
            rows[name] = getattr(step, name)


def _die_with_parent() -> None:
    """End with the parent even from within a step that never ends, once there was time to close the environments."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    time.sleep(CLOSE_SECONDS + 1)
    os._exit(1)
