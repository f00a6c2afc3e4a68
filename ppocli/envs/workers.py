"""Gymnasium's environments shared out among this process and a few worker processes, over shared memory."""

import atexit
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Step
from ppocli.envs.crew import NO_RESET, OUTCOME, Crew, Share, pickled, row_of, shared_array
from ppocli.envs.gymnasium import GymnasiumVectorEnv

_LAG_SECONDS = 0.05  # that workers may cost, beyond what they save, before they are left alone for a while
_ALONE_SECONDS = (1.0, 30.0)  # for how long: at first, and at most, as each time is four times the one before
_CHEAP_SECONDS = 1e-3  # for a step of an environment: what takes longer may well take long to make, too


class WorkerVectorEnv:
    """N environments: this process steps one share of them, each worker process another, at the same time.

    Which process an environment lives in changes nothing that it does. So with `env.workers: auto`, on a machine that
    has too much else to do for them to pay, this process plays the episodes of all that begin, and asks them again
    later. Its `crew` must have started before it is used. Raises what GymnasiumVectorEnv raises, NoWorkersError,
    PpocliError when a worker has died, with its cause.
    """

    def __init__(self, config: EnvConfig, num_envs: int, num_workers: int, crew: Crew) -> None:
        self._own = own = GymnasiumVectorEnv(config, num_envs)
        self.env_id, self.num_envs, self.info_keys = own.env_id, num_envs, own.info_keys
        self.obs_spec, self.action_spec = own.obs_spec, own.action_spec
        self.episode_limit, self.limit_is_assumed = own.episode_limit, own.limit_is_assumed
        self.reward_threshold = own.reward_threshold
        self._crew, self._is_auto = crew, config.workers == "auto"
        processes = num_workers + 1
        self._own_share = np.arange(num_envs) % processes == 0  # in turn: whichever play, all have about as many
        self._theirs = np.zeros(num_envs, dtype=bool)  # whether the current episode is a worker's
        self._playing = np.zeros(num_envs, dtype=bool)
        self._lag, self._alone_until, self._alone_seconds = 0.0, 0.0, _ALONE_SECONDS[0]
        atexit.register(self.close)  # before multiprocessing's own, which would wait for the workers
        try:
            made_from, row = pickled(own), row_of(own)
            buffer = shared_array("b", num_envs * row.itemsize)
            self._rows = np.frombuffer(buffer, row)
            self._rows["seed"] = NO_RESET
            parts = [slice(first, None, processes) for first in range(1, processes)]
            self._shares = crew.take([Share(made_from, config, buffer, row, part) for part in parts])
        except BaseException:
            self.close()
            raise

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> NDArray[Any]:
        named, given = np.array(indices, dtype=int), np.array(seeds, dtype=np.int64)
        begun = named[~self._playing[named]]  # whose episode is given up stays with the process that plays it
        self._theirs[begun] = ~self._own_share[begun] & (time.perf_counter() >= self._alone_until)
        self._playing[named] = True
        theirs = self._theirs[named]
        self._rows["seed"][named[theirs]] = given[theirs]
        concerned = [share for share in self._shares if (self._rows["seed"][share.part] >= 0).any()]
        for share in concerned:
            share.begin()
        obs = self._own.reset(named[~theirs].tolist(), given[~theirs].tolist())
        for share in concerned:
            share.worker.wait()
        obs[self._theirs] = self._rows["obs"][self._theirs]
        return obs

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
            theirs = self._theirs[share.part]
            those = slice(None) if theirs.all() else theirs
            for name in OUTCOME:
                getattr(step, name)[share.part][those] = rows[name][share.part][those]
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
