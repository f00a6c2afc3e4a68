"""Gymnasium's environments shared out among this process and a few worker processes, over shared memory."""

import atexit
import itertools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Semaphore
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from ppocli.config.models import EnvConfig
from ppocli.envs.api import ActionSpec, Observations, ObsSpec, Step
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.errors import PpocliError
from ppocli.signals import ignore_stop_signals, signal_name, start_resource_tracker, stop_signals_held_back

_SPIN_SECONDS = 1e-3
_LOOK_AFTER_WORKERS_SECONDS = 0.5
_NO_RESET = -1


class WorkerVectorEnv:
    """N environments: this process steps the first share of them, each worker process another, at the same time.

    Which process an environment lives in changes nothing that it does. Raises what GymnasiumVectorEnv raises; `reset`
    and `step` raise PpocliError when a worker has died, with what killed it.
    """

    def __init__(self, config: EnvConfig, num_envs: int, num_workers: int) -> None:
        bounds = [num_envs * part // (num_workers + 1) for part in range(num_workers + 2)]
        self.num_envs = num_envs
        self._own = GymnasiumVectorEnv(config, bounds[1])
        self.obs_spec, self.action_spec = self._own.obs_spec, self._own.action_spec
        self.reward_threshold = self._own.reward_threshold
        context = multiprocessing.get_context("spawn")  # a fork could copy torch's locked locks
        row = _row(self.obs_spec, self.action_spec)
        buffer = context.RawArray("b", num_envs * row.itemsize)
        self._rows = np.frombuffer(buffer, row)
        self._rows["seed"] = _NO_RESET
        self._workers: list[_Worker] = []
        start_resource_tracker()
        atexit.register(self.close)  # before multiprocessing's own, which would wait for them
        for start, stop in itertools.pairwise(bounds[1:]):
            go, done = context.Semaphore(0), context.Semaphore(0)
            share = _Share(self._own.spec, config, buffer, row, start, stop, go, done)
            self._workers.append(_Worker(context, share))

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> Observations:
        rows = self._rows
        rows["seed"][list(indices)] = seeds
        concerned = [worker for worker in self._workers if (rows["seed"][worker.start : worker.stop] >= 0).any()]
        for worker in concerned:
            worker.go.release()
        _reset(self._own, rows[: self._own.num_envs])
        for worker in concerned:
            worker.wait()
        return Observations(rows["obs"].copy())

    def step(self, actions: NDArray[Any]) -> Step:
        rows = self._rows
        rows["action"] = actions
        for worker in self._workers:
            worker.go.release()
        _step(self._own, rows[: self._own.num_envs])
        for worker in self._workers:
            worker.wait()
        return Step(rows["obs"].copy(), rows["reward"].copy(), rows["terminated"].copy(), rows["truncated"].copy())

    def close(self) -> None:
        """See `VectorEnv.close`. Workers are killed: they hold nothing that is worth saving."""
        atexit.unregister(self.close)
        self._own.close()
        for worker in self._workers:
            worker.kill()


def _row(obs_spec: ObsSpec, action_spec: ActionSpec) -> np.dtype[Any]:
    """Return what the processes tell each other about one environment."""
    fields = [
        ("seed", np.int64),  # of the episode to start, else _NO_RESET
        ("action", action_spec.dtype, action_spec.shape),
        ("reward", np.float64),
        ("obs", obs_spec.dtype, obs_spec.shape),
        ("terminated", np.bool_),
        ("truncated", np.bool_),
    ]
    return np.dtype(fields, align=True)


def _reset(envs: GymnasiumVectorEnv, rows: NDArray[Any]) -> None:
    """Start an episode in each environment whose row has a seed for one."""
    indices = np.flatnonzero(rows["seed"] >= 0)
    rows["obs"] = envs.reset(indices.tolist(), rows["seed"][indices].tolist()).obs
    rows["seed"] = _NO_RESET


def _step(envs: GymnasiumVectorEnv, rows: NDArray[Any]) -> None:
    rows["obs"], rows["reward"], rows["terminated"], rows["truncated"], _ = envs.step(rows["action"])


@dataclass(frozen=True)
class _Share:
    """What a worker is told: which environments, and where it finds what concerns those from `start` up to `stop`."""

    spec: EnvSpec | None
    config: EnvConfig
    buffer: Any
    row: np.dtype[Any]
    start: int
    stop: int
    go: Semaphore
    done: Semaphore


class _Worker:
    """This process's end of a worker."""

    def __init__(self, context: Any, share: _Share) -> None:
        self.start, self.stop, self.go, self._done = share.start, share.stop, share.go, share.done
        self._last_words, words_out = context.Pipe(duplex=False)
        self._process: SpawnProcess = context.Process(target=_work, args=(share, words_out), daemon=True)
        # Nor is a signal the worker's that comes before it has imported what ignores them.
        with _main_module_hidden(), stop_signals_held_back():
            self._process.start()
        words_out.close()

    def wait(self) -> None:
        """Wait until the worker has done what `go` told it. Raises PpocliError when it has died."""
        if _spin(self._done):
            return
        while not self._done.acquire(timeout=_LOOK_AFTER_WORKERS_SECONDS):
            if not self._process.is_alive() and not self._done.acquire(block=False):
                raise PpocliError(f"a worker process of the environments died: {self._cause_of_death()}")

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._last_words.close()

    def _cause_of_death(self) -> str:
        with suppress(EOFError):
            if self._last_words.poll():
                return f"{self._last_words.recv()} (env.workers=0 shows the whole traceback)"
        code = self._process.exitcode or 0
        if code < 0:
            return f"killed by {signal_name(-code)}, perhaps for want of memory; env.workers=0 needs none of them"
        return f"exit code {code}; env.workers=0 steps everything in one process"


def _work(share: _Share, last_words: "connection.Connection[str, str]") -> None:
    """Be a worker process until the parent kills it or is no more."""
    ignore_stop_signals()  # a signal to the whole group is the parent's to answer
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        if share.spec is not None:  # of an environment that perhaps only the parent has registered
            gym.registry.setdefault(share.spec.id, share.spec)
        envs = GymnasiumVectorEnv(share.config, share.stop - share.start)
        rows = np.frombuffer(share.buffer, share.row)[share.start : share.stop]
        while True:
            if not _spin(share.go):
                share.go.acquire()
            if (rows["seed"] >= 0).any():
                _reset(envs, rows)
            else:
                _step(envs, rows)
            share.done.release()
    except Exception as error:
        last_words.send(f"{type(error).__name__}: {' '.join([str(error), *getattr(error, '__notes__', ())])}")
        sys.exit(1)


def _spin(semaphore: Semaphore) -> bool:
    """Try for a moment: in the middle of a rollout the other side is about to answer, and sleeping takes longer."""
    end = time.perf_counter() + _SPIN_SECONDS
    while not semaphore.acquire(block=False):
        if time.perf_counter() > end:
            return False
    return True


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep a new process from importing the main module: it costs time, and may run a user's script a second time."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
