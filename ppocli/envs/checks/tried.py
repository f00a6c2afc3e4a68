"""Questions that are tried out: an environment is played once more, in the way that would show what each asks for."""

import gc
import multiprocessing
import os
import random
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np

from ppocli.envs import make, masks
from ppocli.envs.api import Continuous, VectorEnv
from ppocli.envs.checks.trial import Finding, Level, Trial, chance, difference, play, trace
from ppocli.envs.crew import NoWorkersError
from ppocli.envs.given import begun
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.vector import OwnVectorEnv
from ppocli.envs.workers import WorkerVectorEnv
from ppocli.errors import NonFiniteError, PpocliError, UsageError
from ppocli.signals import at_most

LEAVING_SECONDS = 1.0  # that threads and processes have to end once their environment is closed
SEGMENTS = 5  # of the play in which memory may grow; the first warms up
LARGEST_GROWTH = 50.0  # bytes an env step: 50 MB in a million
_RESUMES = "then runs resume only with --allow-inexact"
_COSTS = f"{_RESUMES}, and evaluations come out otherwise each time"
_PAGES_GROWTH = 256_000  # bytes in every segment, where Python itself has not counted them


def made(trial: Trial) -> Iterator[Finding]:
    """Can it be made, for training and, where that is another, to be measured in?"""
    with trial.bare():
        yield from ()
    env, measured = trial.config.env, trial.config.evaluated_in
    if measured.task != env.task:
        with (
            make.saying_whose_arguments(trial.config),
            closing(GymnasiumVectorEnv(env, 1)) as one,
            closing(GymnasiumVectorEnv(measured, 1)) as other,
        ):
            same = (one.obs_spec, one.action_spec) == (other.obs_spec, other.action_spec)
        if not same:
            message = "it is measured in an environment of other observations or actions than it is trained in"
            advice = "see to evaluation.env_kwargs, and to wrappers that are training_only"
            yield Finding("error", "made", message, advice)


def spaces(trial: Trial) -> Iterator[Finding]:
    """Are its spaces such as can be learned with, and those of every copy?"""
    try:
        with trial.opened() as one:
            if trial.config.env.single_instance:
                return
            with trial.opened() as other:
                if (one.obs_spec, one.action_spec) == (other.obs_spec, other.action_spec):
                    return
        message = "its copies do not have the same observation_space and action_space"
        yield Finding("error", "spaces", message, "make spaces of nothing but the arguments of the environment")
    except UsageError as error:
        trial.failed = True
        message, _, supported = str(error).removeprefix("env.id: ").partition("; ")
        yield Finding("error", "spaces", message, supported)


def plays(trial: Trial) -> Iterator[Finding]:
    """Can it be played, as training does?"""
    if trial.failed:
        return
    try:
        play(trial)
    except PpocliError as error:
        trial.failed = True
        message, _, expected = str(error).partition("; Gymnasium expects ")
        advice = f"Gymnasium expects {expected}" if expected else "the seed and actions by chance lead there again"
        if isinstance(error, NonFiniteError):
            advice = "look for a division by 0 or an overflow; clip or end the episode"
        yield Finding("error", "plays", message, advice)


def reproducible(trial: Trial) -> Iterator[Finding]:
    """Does an episode depend on nothing but its seed and its actions?"""
    before = _global_generators()
    traces = []
    for _ in range(2):
        with trial.opened() as envs:
            traces.append(trace(trial, envs, trial.seed))
    drawn_globally = [name for name, state in _global_generators().items() if state != before[name]]
    if differs := difference(*traces):
        trial.reproducible = False
        message = f"the same seed and actions lead elsewhere in another object: {differs} differs; {_COSTS}"
        instead = f"instead of {' and '.join(drawn_globally)}" if drawn_globally else "after super().reset(seed=seed)"
        yield Finding("warning", "reproducible", message, f"draw from self.np_random alone, {instead}")
        return
    with trial.opened() as envs:
        for seed in (trial.seed, trial.seed + 1):
            trace(trial, envs, seed)
        again = trace(trial, envs, trial.seed)
    if differs := difference(traces[0], again):
        message = f"an episode depends on those before it in the same object: {differs} differs; {_COSTS}"
        yield Finding("warning", "reproducible", message, "let reset() put back everything that step() changes")


def _global_generators() -> dict[str, Any]:
    """Return the states of the random numbers that all in a process share."""
    return {"np.random": repr(np.random.get_state()), "random": random.getstate()}


def copies(trial: Trial) -> Iterator[Finding]:
    """Do copies that are stepped in turn leave each other alone?"""
    if not trial.reproducible or trial.config.env.single_instance:
        return
    before = _global_generators()
    with trial.opened() as envs:
        alone = trace(trial, envs, trial.seed)
    with trial.opened(3) as envs:
        beside = trace(trial, envs, trial.seed)
    if not (differs := difference(alone, beside)):
        return
    if _global_generators() != before:
        message = f"copies take their random numbers from each other: {differs} differs beside others"
        yield Finding("warning", "copies", message, "draw from self.np_random alone, not from np.random or random")
    else:
        message = f"copies change each other: {differs} differs from that of one alone"
        yield Finding(
            "error", "copies", message, "keep state in self, made anew in reset(), not in the class or module"
        )


def masked(trial: Trial) -> Iterator[Finding]:
    """Does it say which actions are allowed, always and in one voice?"""
    played = trial.played
    if played is None or trial.failed:
        return
    with trial.bare() as env:
        by_method = masks.has_method(env)
        _, first = begun(env.reset(seed=trial.seed))
        in_reset = masks.MASK in first
        if isinstance(played.action_spec, Continuous):
            if by_method or in_reset:
                message = "it says which actions are allowed, which is ignored: they are real numbers"
                yield Finding("warning", "masks", message, "clip what is not allowed, or make actions a choice")
            return
        if by_method and in_reset:
            both = (masks.by_method(env, first), first[masks.MASK])
            one, other = map(masks.reader(played.action_spec), both)
            if (one != other).any():
                message = "action_masks() allows other actions than the info of reset(), and is what counts"
                yield Finding("warning", "masks", message, "let both say the same, or leave one out")
        if not (by_method or in_reset):
            action = env.action_space.sample()
            if masks.MASK in env.step(action)[4]:
                message = "step() says which actions are allowed, which is ignored, as reset() does not"
                yield Finding("warning", "masks", message, "put action_mask into the info of reset(), too")
            return
    if not trial.config.env.action_masks:
        message = "it says which actions are allowed, and env.action_masks is off"
        yield Finding("hint", "masks", message, "set env.action_masks=true")
    elif not played.forbids:
        message = f"its mask has forbidden nothing in {played.env_steps:,} env steps"
        yield Finding("hint", "masks", message, "leave it out, or see whether it is up to date")


def leaves(trial: Trial) -> Iterator[Finding]:
    """Does it end what it has started once it is closed?"""
    resource_tracker.ensure_running()  # which is ours, whoever needs it first
    threads, children = set(threading.enumerate()), _children()
    with trial.opened() as envs:
        trace(trial, envs, trial.seed, share=0.01)
    for _ in range(10):
        left = [thread.name for thread in threading.enumerate() if thread not in threads]
        others = _children() - children
        if not left and not others:
            return
        time.sleep(LEAVING_SECONDS / 10)
    what = [f"the thread {name}" for name in left] + [f"the process {pid}" for pid in sorted(others)]
    message = f"close() leaves {', '.join(what[:3] + ['…'] * bool(what[3:]))} behind"
    yield Finding("warning", "close", message, "end in close() what was started: a run has dozens of copies")


def _children() -> set[int]:
    """Return the processes that this one has started and that are at work."""
    known = {process.pid for process in multiprocessing.active_children() if process.pid}
    for stat in Path("/proc").glob("[0-9]*/stat"):  # on Linux; elsewhere those that Python knows
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state not in "ZX":
                known.add(int(stat.parent.name))
    return known


def memory(trial: Trial) -> Iterator[Finding]:
    """Does its memory grow from episode to episode?"""
    if trial.failed:
        return
    counting = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        with trial.opened() as envs:
            marks = []
            for taken in _segments(trial, envs):
                gc.collect()
                marks.append((taken, tracemalloc.get_traced_memory()[0], _resident()))
    finally:
        if not counting:
            tracemalloc.stop()
    steps, python, pages = np.diff(np.array(marks), axis=0).T
    growth = max(
        python.sum() / steps.sum() if (python > 0).all() else 0.0,
        pages.sum() / steps.sum() if (pages > _PAGES_GROWTH).all() else 0.0,
    )
    if growth > LARGEST_GROWTH:
        message = f"its memory grows: {growth:,.0f} bytes an env step, {growth / 1e3:,.1f} GB in a million"
        yield Finding("warning", "memory", message, "let go in reset() of what the last episode has gathered")


def _segments(trial: Trial, envs: GymnasiumVectorEnv) -> Iterator[int]:
    """Play on and on; yield the env steps taken so far, where an episode has just begun."""
    obs, rng, taken = envs.reset([0], [trial.seed]), np.random.default_rng(0), 0
    for _ in range(SEGMENTS):
        for _ in trial.budget.steps(1 / SEGMENTS):
            step = envs.step(chance(envs, obs, [rng]))
            obs, taken = step.obs, taken + 1
            if ended := bool(step.terminated[0] or step.truncated[0]):
                obs = envs.reset([0], [trial.seed + taken])
        if not ended:
            obs = envs.reset([0], [trial.seed])
        yield taken


def _resident() -> int:
    """Return how much memory this process has, in bytes; 0 where only its peak is known."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def stepping(trial: Trial) -> Iterator[Finding]:
    """Can it be stepped in worker processes, and how fast is it with and without them?"""
    workers = make.automatic_workers(trial.config.env.num_envs) or 1
    if not trial.failed:
        with closing(make.stepped_envs(trial.config.env, 0)) as envs, at_most(trial.budget.patience):
            trial.env_steps_per_second["one_process"] = _rate(trial, envs)
    try:
        with closing(make.stepped_envs(trial.config.env, workers)) as envs, at_most(trial.budget.patience):
            if isinstance(envs, WorkerVectorEnv) and not trial.failed:
                trial.env_steps_per_second["with_workers"] = _rate(trial, envs)
                trial.workers = workers
    except PpocliError as error:
        level: Level = "warning" if isinstance(error.__cause__, NoWorkersError) else "error"
        if level == "error" and trial.failed:
            return
        message, _, advice = str(error).removeprefix("env.workers: ").partition("; ")
        advice = advice or "set env.workers=0, or mend what is different in a process of its own"
        yield Finding(level, "workers", message, advice, {"env.workers": 0})


def together(trial: Trial) -> Iterator[Finding]:
    """Is its own vectorised form, where the config asks for it, of the same form as a single one, and reproducible?"""
    env = trial.config.env
    if env.backend != "vector" or trial.failed:
        return
    with closing(OwnVectorEnv(env, env.num_envs)) as envs, trial.opened() as single, at_most(trial.budget.patience):
        if (envs.obs_spec, envs.action_spec) != (single.obs_spec, single.action_spec):
            message = "its vectorised form does not have the spaces of a single one, in which agents are evaluated"
            yield Finding("error", "together", message, "give both the same spaces, or set env.backend=gymnasium")
            return
        traces = [trace(trial, envs, trial.seed) for _ in range(2)]
        trial.env_steps_per_second["vectorised"] = _rate(trial, envs)
    if differs := difference(*traces):
        message = f"the same seed and actions lead elsewhere in its vectorised form: {differs} differs; {_RESUMES}"
        yield Finding("warning", "together", message, "give each copy a generator of its own from reset(seed=[…])")


def _rate(trial: Trial, envs: VectorEnv) -> float:
    """Return how many env steps a second all environments take together, beginning episodes included."""
    rngs = [np.random.default_rng(index) for index in range(envs.num_envs)]
    obs = envs.reset(range(envs.num_envs), range(trial.seed, trial.seed + envs.num_envs))
    clock, seconds, taken = trial.budget.clock, 0.0, 0
    for _ in trial.budget.steps():
        actions = chance(envs, obs, rngs)
        began = clock()
        step = envs.step(actions)
        obs, taken = step.obs, taken + envs.num_envs
        ended = np.flatnonzero(step.terminated | step.truncated).tolist()
        if ended:
            obs = envs.reset(ended, range(trial.seed + taken, trial.seed + taken + len(ended)))
        seconds += clock() - began
    return taken / seconds
