"""Gymnasium's environments shared out among this process and a few worker processes, over shared memory."""

import atexit
import itertools
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
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from ppocli import children
from ppocli.config.models import EnvConfig
from ppocli.envs.api import Observations, Step
from ppocli.envs.gymnasium import CLOSE_SECONDS, GymnasiumVectorEnv
from ppocli.envs.link import Link
from ppocli.errors import PpocliError, PpocliWarning
from ppocli.signals import leave_stop_signals_to_parent, let_stop_signals_in

_NO_RESET = -1
_END = b"end"
_OUTCOME = ["obs", "rewards", "terminated", "truncated", "infos"]  # what a step leads to, each a field of a row
_LAG_SECONDS = 0.05  # that workers may cost, beyond what they save, before they are left alone for a while
_ALONE_SECONDS = (1.0, 30.0)  # for how long: at first, and at most, as each time is four times the one before
_CHEAP_SECONDS = 1e-3  # for a step of an environment: what takes longer may well take long to make, too


class NoWorkersError(PpocliError):
    """There can be no worker processes for this environment, or on this machine."""


class WorkerVectorEnv:
    """N environments: this process steps the first share of them, each worker process another, at the same time.

    Which process an environment lives in changes nothing that it does. So with `env.workers: auto`, on a machine that
    has too much else to do for them to pay, this process plays the episodes of all that begin, and asks them again
    later. Its `crew` must have started before it is used. Raises what GymnasiumVectorEnv raises, NoWorkersError,
    PpocliError when a worker has died, with its cause.
    """

    def __init__(self, config: EnvConfig, num_envs: int, num_workers: int, crew: "Crew") -> None:
        self._own = own = GymnasiumVectorEnv(config, num_envs)
        self.env_id, self.num_envs, self.info_keys = own.env_id, num_envs, own.info_keys
        self.obs_spec, self.action_spec = own.obs_spec, own.action_spec
        self.reward_threshold, self.assumed_limit = own.reward_threshold, own.assumed_limit
        self._crew, self._is_auto = crew, config.workers == "auto"
        bounds = [num_envs * part // (num_workers + 1) for part in range(num_workers + 2)]
        self._own_end = bounds[1]
        self._theirs = np.zeros(num_envs, dtype=bool)  # whether the current episode is a worker's
        self._playing = np.zeros(num_envs, dtype=bool)
        self._lag, self._alone_until, self._alone_seconds = 0.0, 0.0, _ALONE_SECONDS[0]
        atexit.register(self.close)  # before multiprocessing's own, which would wait for the workers
        try:
            spec, row = _pickled(own.spec), _row(own)
            buffer = _shared("b", num_envs * row.itemsize)
            self._rows = np.frombuffer(buffer, row)
            self._rows["seed"] = _NO_RESET
            parts = [slice(*ends) for ends in itertools.pairwise(bounds[1:])]
            self._shares = crew.take([_Share(spec, config, buffer, row, part) for part in parts])
        except BaseException:
            self.close()
            raise

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> Observations:
        named, given = np.array(indices, dtype=int), np.array(seeds, dtype=np.int64)
        self._theirs[named] = (named >= self._own_end) & (time.perf_counter() >= self._alone_until)
        self._playing[named] = True
        theirs = self._theirs[named]
        self._rows["seed"][named[theirs]] = given[theirs]
        concerned = [share for share in self._shares if (self._rows["seed"][share.part] >= 0).any()]
        for share in concerned:
            share.begin()
        obs = self._own.reset(named[~theirs].tolist(), given[~theirs].tolist()).obs
        for share in concerned:
            share.worker.wait()
        obs[self._theirs] = self._rows["obs"][self._theirs]
        return Observations(obs)

    def step(self, actions: NDArray[Any]) -> Step:
        rows = self._rows
        at_work = [share for share in self._shares if self._theirs[share.part].any()]
        if at_work:
            rows["action"] = actions
        began = time.perf_counter()
        for share in at_work:
            share.begin()
        step = self._own.step(actions)
        own_ended = time.perf_counter()
        for share in at_work:
            share.worker.wait()
        if at_work and self._is_auto and self._playing.all():
            self._measure(own_ended - began, time.perf_counter() - began)
        for share in at_work:
            theirs = share.part if self._theirs[share.part].all() else np.flatnonzero(self._theirs)
            for name in _OUTCOME:
                getattr(step, name)[theirs] = rows[name][theirs]
        self._playing &= ~(step.terminated | step.truncated)
        return step

    def _measure(self, own_seconds: float, seconds: float) -> None:
        """Take note of a step; leave workers alone where steps with them take longer than they would without.

        Only what has been lost lately counts (Page's CUSUM, Biometrika 41, 1954), so that it is soon noticed.
        """
        alone = own_seconds * self.num_envs / (self.num_envs - self._theirs.sum())
        self._lag = max(0.0, self._lag + seconds - alone)
        if self._lag > _LAG_SECONDS and alone < _CHEAP_SECONDS * self.num_envs:
            self._alone_until = time.perf_counter() + self._alone_seconds
            self._lag, self._alone_seconds = 0.0, min(4 * self._alone_seconds, _ALONE_SECONDS[1])

    def close(self) -> None:
        """See `VectorEnv.close`. It ends the crew, too."""
        atexit.unregister(self.close)
        self._crew.dismiss()
        self._own.close()
        self._crew.see_off()


def _row(envs: GymnasiumVectorEnv) -> np.dtype[Any]:
    """Return what the processes tell each other about one environment."""
    fields = [
        ("seed", np.int64),  # of the episode to start, else _NO_RESET
        ("action", envs.action_spec.dtype, envs.action_spec.shape),
        ("rewards", np.float64),
        ("obs", envs.obs_spec.dtype, envs.obs_spec.shape),
        ("terminated", np.bool_),
        ("truncated", np.bool_),
        ("infos", np.float64, (len(envs.info_keys),)),
    ]
    return np.dtype(fields, align=True)


@dataclass(frozen=True)
class _Share:
    """What a worker is told: which environments, and where it finds what concerns them."""

    spec: bytes
    config: EnvConfig
    buffer: Any
    row: np.dtype[Any]
    part: slice


class Crew:
    """Worker processes, which several vectors of environments may share."""

    def __init__(self) -> None:
        self._workers: list[_Worker] = []

    def take(self, shares: Sequence[_Share]) -> list["_Given"]:
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
class _Given:
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
        self._shares: list[_Share] = []
        self._process: SpawnProcess | None = None

    def take(self, share: _Share) -> _Given:
        self._shares.append(share)
        return _Given(self, len(self._shares) - 1, share.part)

    def start(self) -> None:
        turns = _shared("q", 2)
        with children.main_module_hidden():
            self._process, ours = children.start(_work, turns, self._shares)
        self.link = Link(ours, turns, 0)

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


def _shared(kind: str, size: int) -> Any:
    try:
        return children.CONTEXT.RawArray(kind, size)
    except OSError as error:
        raise _none(error) from error


def _none(error: OSError) -> NoWorkersError:
    return NoWorkersError(f"no shared memory, or no worker processes: {error.strerror or error}")


def _pickled(spec: EnvSpec | None) -> bytes:
    """Return what a worker makes the same environments from. Raises NoWorkersError."""
    try:
        with children.main_module_hidden():  # as it is from a worker, which could not find what stands there
            return pickle.dumps(spec)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        code = spec.entry_point if spec else None
        name = f"{getattr(code, '__module__', '?')}.{getattr(code, '__qualname__', code)}"
        reason = f"{name}, which is not at the top of a module that they can import ({error})"
        raise NoWorkersError(f"worker processes cannot be given {reason}") from error


def _work(connection: Connection, turns: Any, shares: Sequence[_Share]) -> None:
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


def _envs(share: _Share, num_envs: int) -> GymnasiumVectorEnv:
    try:
        spec = pickle.loads(share.spec)
    except Exception as error:
        raise NoWorkersError(f"a worker process does not find the environment: {error}") from error
    if spec is not None:  # of an environment that perhaps only the parent has registered
        gym.registry.setdefault(spec.id, spec)
    return GymnasiumVectorEnv(share.config, num_envs)


def _do(envs: GymnasiumVectorEnv, rows: NDArray[Any]) -> None:
    """Start an episode in each environment whose row has a seed for one; where none has, step them all."""
    starting = np.flatnonzero(rows["seed"] >= 0)
    if len(starting):
        rows["obs"] = envs.reset(starting.tolist(), rows["seed"][starting].tolist()).obs
        rows["seed"] = _NO_RESET
    else:
        step = envs.step(rows["action"])
        for name in _OUTCOME:
            rows[name] = getattr(step, name)


def _die_with_parent() -> None:
    """End with the parent even from within a step that never ends, once there was time to close the environments."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    time.sleep(CLOSE_SECONDS + 1)
    os._exit(1)
