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
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import gymnasium as gym
import numpy as np
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
_WINDOW = 200  # steps after which it is asked whether workers pay
_ALONE_SECONDS = 30.0  # for how long they are then left alone before they are asked again
_CHEAP_SECONDS = 1e-3  # for a step of an environment: what takes longer may well take long to make, too


class NoWorkersError(PpocliError):
    """There can be no worker processes for this environment, or on this machine."""


class WorkerVectorEnv:
    """N environments: this process steps the first share of them, each worker process another, at the same time.

    Which process an environment lives in changes nothing that it does. So with `env.workers: auto`, on a machine that
    has too much else to do for them to pay, this process plays the episodes of all that begin, and asks them again
    later. Raises what GymnasiumVectorEnv raises, NoWorkersError, PpocliError when a worker has died, with its cause.
    """

    def __init__(self, config: EnvConfig, num_envs: int, num_workers: int) -> None:
        self._own = own = GymnasiumVectorEnv(config, num_envs)
        self.env_id, self.num_envs, self.info_keys = own.env_id, num_envs, own.info_keys
        self.obs_spec, self.action_spec = own.obs_spec, own.action_spec
        self.reward_threshold, self.assumed_limit = own.reward_threshold, own.assumed_limit
        self._is_auto = config.workers == "auto"
        self._bounds = [num_envs * part // (num_workers + 1) for part in range(num_workers + 2)]
        self._theirs = np.zeros(num_envs, dtype=bool)  # whether the current episode is a worker's
        self._playing = np.zeros(num_envs, dtype=bool)
        self._measured, self._lag, self._alone_until = 0, 0.0, 0.0
        self._workers: list[_Worker] = []
        try:
            self._start(config)
        except BaseException:
            self.close()
            raise

    def _start(self, config: EnvConfig) -> None:
        row = _row(self._own)
        atexit.register(self.close)  # before multiprocessing's own, which would wait for them
        try:
            with children.main_module_hidden():  # as it is from a worker, which could not find what stands there
                spec = pickle.dumps(self._own.spec)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            code = self._own.spec.entry_point if self._own.spec else None
            name = f"{getattr(code, '__module__', '?')}.{getattr(code, '__qualname__', code)}"
            reason = f"{name}, which is not at the top of a module that they can import ({error})"
            raise NoWorkersError(f"worker processes cannot be given {reason}") from error
        try:
            buffer = children.CONTEXT.RawArray("b", self.num_envs * row.itemsize)
            self._rows = np.frombuffer(buffer, row)
            self._rows["seed"] = _NO_RESET
            for start, stop in itertools.pairwise(self._bounds[1:]):
                self._workers.append(_Worker(_Share(spec, config, buffer, row, slice(start, stop))))
        except OSError as error:
            raise NoWorkersError(f"no shared memory, or no worker processes: {error.strerror or error}") from error

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> Observations:
        named, given = np.array(indices, dtype=int), np.array(seeds, dtype=np.int64)
        self._theirs[named] = (named >= self._bounds[1]) & (time.perf_counter() >= self._alone_until)
        self._playing[named] = True
        theirs = self._theirs[named]
        self._rows["seed"][named[theirs]] = given[theirs]
        concerned = [worker for worker in self._workers if (self._rows["seed"][worker.part] >= 0).any()]
        for worker in concerned:
            worker.link.tell()
        obs = self._own.reset(named[~theirs].tolist(), given[~theirs].tolist()).obs
        for worker in concerned:
            worker.wait()
        obs[self._theirs] = self._rows["obs"][self._theirs]
        return Observations(obs)

    def step(self, actions: NDArray[Any]) -> Step:
        rows, theirs = self._rows, self._theirs
        rows["action"] = actions
        at_work = [worker for worker in self._workers if theirs[worker.part].any()]
        began = time.perf_counter()
        for worker in at_work:
            worker.link.tell()
        step = self._own.step(actions)
        own_ended = time.perf_counter()
        for worker in at_work:
            worker.wait()
        if at_work and self._is_auto and self._playing.all():
            self._measure(own_ended - began, time.perf_counter() - began)
        for name in _OUTCOME:
            getattr(step, name)[theirs] = rows[name][theirs]
        self._playing &= ~(step.terminated | step.truncated)
        return step

    def _measure(self, own_seconds: float, seconds: float) -> None:
        """Take note of a step; when it is time to, leave workers alone that make it slower than it would be without."""
        alone = own_seconds * self.num_envs / (self.num_envs - self._theirs.sum())
        self._measured += 1
        self._lag += seconds - alone
        if self._measured == _WINDOW:
            if self._lag > 0 and alone < _CHEAP_SECONDS * self.num_envs:
                self._alone_until = time.perf_counter() + _ALONE_SECONDS
            self._measured, self._lag = 0, 0.0

    def close(self) -> None:
        """See `VectorEnv.close`. Workers that do not close their environments in time are killed."""
        atexit.unregister(self.close)
        for worker in self._workers:
            worker.link.tell(_END)  # as what an environment has forked may hold this end open
            worker.link.connection.close()
        self._own.close()
        for worker in self._workers:
            worker.end()
        self._workers.clear()


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


class _Worker:
    """This process's end of a worker."""

    def __init__(self, share: _Share) -> None:
        self.part = share.part
        turns = children.CONTEXT.RawArray("q", 2)
        with children.main_module_hidden():
            self._process, ours = children.start(_work, turns, share)
        self.link = Link(ours, turns, 0)

    def wait(self) -> None:
        """Wait until the worker has done what it was told. Raises what it raised, PpocliError when it has died."""
        try:
            message = self.link.hear()
        except (EOFError, OSError) as error:
            cause = children.death(self._process, CLOSE_SECONDS)
            why = f"a worker process of the environments died: {cause}; env.workers=0 needs none of them"
            raise PpocliError(why) from error
        if message:
            raise pickle.loads(message)

    def end(self) -> None:
        """See the process off, which ends when its link does."""
        self._process.join(CLOSE_SECONDS + 1)
        self._process.kill()
        self._process.join()


def _work(connection: Connection, turns: Any, share: _Share) -> None:
    """Be a worker process until the parent closes the link or is no more."""
    leave_stop_signals_to_parent()  # a signal to the whole group is the parent's to answer
    let_stop_signals_in()
    warnings.simplefilter("ignore", PpocliWarning)  # which the parent gives of its own share
    threading.Thread(target=_die_with_parent, daemon=True).start()
    link, rows = Link(connection, turns, 1), np.frombuffer(share.buffer, share.row)[share.part]
    try:
        with closing(_envs(share, len(rows))) as envs, suppress(EOFError, OSError):
            while link.hear() == b"":
                _do(envs, rows)
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
