"""What training begins with, everything new or as it was saved, and what its results depend on."""

import math
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

from ppocli import __version__
from ppocli.algorithm.agent import new_agent, on_device
from ppocli.algorithm.normalize import RewardNormalizer
from ppocli.algorithm.updates.api import Update
from ppocli.algorithm.updates.make import make_update
from ppocli.config.models import Config
from ppocli.device import choose_device
from ppocli.envs.api import ObsSpec, VectorEnv, bytes_of
from ppocli.envs.episodes import Episodes
from ppocli.errors import CheckpointError, ReplayError, UsageError
from ppocli.evaluation.agents import agent_from, fitting, load_agent
from ppocli.evaluation.judge import Judge
from ppocli.records.checkpoint import Checkpoint
from ppocli.seeds import Stream, generator, training_seeds
from ppocli.training.job import Job, Origin
from ppocli.training.state import Training

_COPIES = 3  # of an iteration's observations: the rollout, what its numbers are normalised in, another order of it


def build(job: Job, envs: VectorEnv, judge: Judge, clock: Callable[[], float]) -> tuple[Training, bool]:
    """Return everything as it is at the start or as it was saved, and whether its episodes are just as they were.

    Raises CheckpointError where what was saved is not for such a config, UsageError where what the run is to begin with
    is not, ReplayError, PpocliError for lack of a device.
    """
    config, saved, device = job.config, job.saved, choose_device(job.config.train.device)
    _check_memory(config, envs.obs_spec)
    origin = job.origin if saved is None else None
    if saved is not None:
        agent = on_device(load_agent(saved, envs), device)
    elif origin is not None:
        agent = on_device(agent_from(origin.saved, config.network, envs), device)
    else:
        rng = generator(config.train.seed, Stream.WEIGHTS)
        agent = new_agent(envs.obs_spec, envs.action_spec, config.network, rng, device)
    update = make_update(config, agent)
    rewards = RewardNormalizer(config.env.num_envs, config.rollout.gamma)
    if origin is not None:
        _take_over(origin, update, rewards)
    if saved is not None:
        _restore(saved, "optimizer", update.state_dict())
        _restore(saved, "rewards", rewards.state_dict())
        judge.load_state_dict(saved.part("judge"))
    episodes, exact = _episodes(config, envs, saved, job.allow_inexact)
    states = agent.no_states(config.env.num_envs)
    if not exact:
        rewards.returns[:] = 0.0  # of the episodes that are given up
    elif saved is not None and states is not None:
        _restore(saved, "memory", {"states": torch.from_numpy(states)})
    progress = job.progress
    if saved is not None and saved.config.train.target_return != config.train.target_return:
        judge.ask_again()
        progress = replace(progress, solved_at_env_steps=None, solved_at_seconds=None)
    return Training(config, agent, update, rewards, states, episodes, judge, progress, clock), exact


def _check_memory(config: Config, spec: ObsSpec) -> None:
    """Raise UsageError where this machine has too little for the observations of an iteration, and their copies."""
    needed, there = _COPIES * rollout_bytes(config, spec), _physical_memory()
    if needed > there:
        each = f"{config.rollout.horizon} × {config.env.num_envs} observations of {bytes_of(spec):,} bytes ({spec})"
        raise UsageError(
            f"rollout.horizon × env.num_envs: {each} take {needed / 1e9:.1f} GB with the copies that an update makes, "
            f"and this machine has {there / 1e9:.1f} GB; collect fewer at a time"
        )


def rollout_bytes(config: Config, spec: ObsSpec) -> int:
    """Return what the observations of one iteration take."""
    return (config.rollout.horizon + 1) * config.env.num_envs * bytes_of(spec)


def _physical_memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return math.inf


def _take_over(origin: Origin, update: Update, rewards: RewardNormalizer) -> None:
    """Let a new run begin with the scale of rewards that its critic has learned, and perhaps with its optimizer.

    Raises UsageError where that does not fit.
    """
    saved = origin.saved
    if known := saved.part("rewards"):  # a snapshot has none
        returns = torch.tensor(known.get("returns", ()))  # which are of other environments
        _restore(saved, "rewards", {**rewards.state_dict(), "returns": returns})
    if origin.keeps_optimizer:
        try:
            _restore(saved, "optimizer", update.state_dict())
        except CheckpointError as error:
            raise UsageError(
                f"--keep-optimizer: {saved.path} has no optimizer that fits this config's algorithm and network"
            ) from error


def _restore(saved: Checkpoint, part: str, own: Mapping[str, Tensor]) -> None:
    """Put a part of a checkpoint into the state that is its `own`. Raises CheckpointError where that cannot hold it."""
    for name, values in fitting(saved, part, own).items():
        own[name].copy_(values)


def _episodes(config: Config, envs: VectorEnv, saved: Checkpoint | None, allow_inexact: bool) -> tuple[Episodes, bool]:
    """Return the episodes, and whether they stand just where they stood. Raises ReplayError."""
    seeds, horizon = training_seeds(config.train.seed), config.rollout.horizon
    if saved is None:
        return Episodes(envs, seeds, longest_in_step=horizon), True
    state = saved.part("episodes")
    try:
        if config.env.backend == "envpool":
            raise ReplayError("EnvPool's environments cannot be brought back to where they stood")
        return Episodes(envs, seeds, state, longest_in_step=horizon), True
    except ReplayError as error:
        if not allow_inexact:
            raise ReplayError(
                f"{error}; with --allow-inexact the run is resumed all the same, with new episodes in all environments"
            ) from error
        return Episodes(envs, seeds, state, replay=False, longest_in_step=horizon), False


def versions() -> dict[str, str]:
    """Return the versions of everything that results depend on, and the type of machine."""
    packages = {}
    extras = ("mujoco", "envpool", "ale-py", "opencv-python-headless", "minigrid")
    for name in ("torch", "gymnasium", "box2d", "numpy", *extras):
        with suppress(PackageNotFoundError):  # some are extras
            packages[name] = version(name)
    machine = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {"ppocli": __version__, "python": platform.python_version(), **packages, "machine": machine}


def inexactness(saved: Checkpoint) -> list[str]:
    """Return what is not as it was when the checkpoint was made, so that the last bits may come out differently."""
    then, now = saved.versions, versions()
    differing = [name for name in sorted(now.keys() | then.keys()) if then.get(name) != now.get(name)]
    return [f"{name} {then.get(name)} → {now.get(name)}" for name in differing]
