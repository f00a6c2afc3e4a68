"""From a config to environments: what each run trains and is evaluated in."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.config.values import SHORT, Given, leaves
from ppocli.cores import usable_cores
from ppocli.envs.api import ActionSpec, VectorEnv
from ppocli.envs.cartpole import CartPoleVectorEnv
from ppocli.envs.crew import Crew, NoWorkersError
from ppocli.envs.envpool import EnvPoolVectorEnv
from ppocli.envs.gymnasium import GymnasiumVectorEnv, make_env, package_of
from ppocli.envs.masks import chance
from ppocli.envs.vector import OwnVectorEnv
from ppocli.envs.workers import WorkerVectorEnv
from ppocli.envs.wrappers import wraps_of
from ppocli.errors import PpocliError, UsageError, warn
from ppocli.guests import import_modules, is_imported
from ppocli.seeds import training_seeds

NUM_EVAL_ENVS = 40
"""Environments that an evaluation plays in, however few episodes it plays (one that is not needed is never made): torch
may give other last bits for batches of another shape, and an episode must not depend on how many are played beside it.
Twice as many as the first episodes of a solved check: with 20 in all, 100 episodes take a fifth longer.
"""
ENVIRONMENTS_PER_PROCESS = 8  # at least so many, or handing over costs more than it saves


@dataclass(frozen=True)
class Environments:
    """What a training run plays in."""

    training: VectorEnv
    evaluation: VectorEnv

    def close(self) -> None:
        self.training.close()
        self.evaluation.close()


def make_environments(config: Config, iterations: int = 0) -> Environments:
    """Make the environments of a training run, which has so many iterations behind it.

    Their worker processes take a while to start: what else takes long is best done after this. Raises UsageError and
    PpocliError as the backends do.
    """
    with ExitStack() as made:
        if config.env.backend != "gymnasium":
            training = _foreign_envs(config, iterations)
            made.callback(training.close)
            evaluation = evaluation_envs(config.evaluated_in)
            made.callback(evaluation.close)
        elif config.env.single_instance:
            training = evaluation = evaluation_envs(config.env)
            made.callback(training.close)
        else:
            both = (config.env, config.env.num_envs), (config.evaluated_in, NUM_EVAL_ENVS)
            with saying_whose_arguments(config):
                training, evaluation = _gymnasium_envs(*both)
            made.callback(training.close)
            made.callback(evaluation.close)
        if (training.obs_spec, training.action_spec) != (evaluation.obs_spec, evaluation.action_spec):
            if config.evaluated_in.task != config.env.task:
                raise UsageError(
                    "evaluation.env_kwargs, and wrappers that are training_only, give agents other observations or "
                    "actions than in training"
                )
            if config.env.backend == "gymnasium":
                raise PpocliError(
                    f"{config.env.id}: its copies do not have the same observation_space and action_space"
                )
            raise UsageError(
                f"env.backend: {config.env.backend} has a {config.env.id} of another form than Gymnasium's, in which "
                "agents are evaluated; use env.backend: gymnasium"
            )
        if package_of(config.env.id) != "gymnasium":
            _warn_if_not_reproducible(evaluation)
        if config.env.backend == "vector":
            _warn_if_not_reproducible(training)
        made.pop_all()
    return Environments(training, evaluation)


@contextmanager
def saying_whose_arguments(config: Config) -> Iterator[None]:
    """Within the block errors name `evaluation.env_kwargs`, too, where there are any."""
    try:
        yield
    except UsageError as error:
        if not config.evaluation.env_kwargs:
            raise
        said = str(error).replace("env.kwargs:", "env.kwargs with evaluation.env_kwargs:", 1)
        raise UsageError(said) from error


def _foreign_envs(config: Config, iterations: int) -> VectorEnv:
    """Return the environments that are stepped by others than Gymnasium, for training alone."""
    if config.env.backend == "vector":
        refuse_foreign_paths(config.env)
        return OwnVectorEnv(config.env, config.env.num_envs)
    # Its episodes all follow from this one seed, and a resumed run is not to play its first ones again.
    seed = training_seeds(config.train.seed)(0, iterations)
    return EnvPoolVectorEnv(config.env, config.env.num_envs, seed)


def evaluation_envs(config: EnvConfig) -> VectorEnv:
    """Return the environments to evaluate in: Gymnasium's own, whatever backend trained."""
    return _gymnasium_envs((config, _num_eval_envs(config)))[0]


def _warn_if_not_reproducible(envs: VectorEnv) -> None:
    """Play the beginning of an episode twice, and say so where it comes to something else."""
    seen = []
    for _ in range(2):
        obs = envs.reset([0], [0])
        rngs = map(np.random.default_rng, range(envs.num_envs))
        step = envs.step(chance(envs.action_spec, envs.obs_spec, obs, rngs))
        seen.append([obs[0], step.obs[0], step.rewards[0]])
    if not all(np.array_equal(first, again, equal_nan=True) for first, again in zip(*seen, strict=True)):
        advice = "draw from self.np_random, after super().reset(seed=seed)"
        warn(f"{envs.env_id}: an episode depends on more than its seed, and a run cannot be reproduced; {advice}")


def stepped_envs(config: EnvConfig, workers: int) -> VectorEnv:
    """Return the environments of a training run as Gymnasium has them, with so many worker processes if they may pay.

    Raises PpocliError, caused by NoWorkersError where there can be none.
    """
    return _gymnasium_envs((config.model_copy(update={"workers": workers}), config.num_envs))[0]


def drawn_envs(config: EnvConfig, render_mode: Literal["human", "rgb_array"]) -> GymnasiumVectorEnv:
    """Return the environments to watch an agent in: as many as an evaluation has, so that it acts as it does there."""
    refuse_foreign_paths(config)
    return GymnasiumVectorEnv(config, _num_eval_envs(config), render_mode)


def _num_eval_envs(config: EnvConfig) -> int:
    return 1 if config.single_instance else NUM_EVAL_ENVS


def single_env(config: EnvConfig) -> GymnasiumVectorEnv:
    """Return one environment, to ask for its spaces. Raises UsageError and PpocliError as the backends do."""
    refuse_foreign_paths(config)
    return GymnasiumVectorEnv(config, 1)


def playing(config: EnvConfig) -> gym.Env[Any, Any]:
    """Return one environment as Gymnasium has it, with what its config puts around it; raises as `single_env`."""
    refuse_foreign_paths(config)
    return make_env(config, wraps_of(config.wrappers))


def action_spec_of(config: EnvConfig) -> ActionSpec:
    """Return what actions an environment takes. Raises what `single_env` raises."""
    with closing(single_env(config)) as envs:
        return envs.action_spec


def _gymnasium_envs(*tasks: tuple[EnvConfig, int]) -> list[VectorEnv]:
    """Return several vectors of so many environments each, of which the same worker processes play a share."""
    crew = Crew()
    with ExitStack() as made:
        envs: list[VectorEnv] = []
        try:
            for config, size in tasks:
                refuse_foreign_paths(config)
                envs.append(_vector(config, size, crew))
                made.callback(envs[-1].close)
            crew.start()
        except NoWorkersError as error:
            if config.workers != "auto":
                raise PpocliError(f"env.workers: {error}; env.workers=0 needs none") from error
            warn(f"{error}; all environments are stepped in one process")
            return [GymnasiumVectorEnv(config, size) for config, size in tasks]
        made.pop_all()
    return envs


def _vector(config: EnvConfig, size: int, crew: Crew) -> VectorEnv:
    """Return so many environments, of which the crew's workers, to be started, play a share where that pays."""
    if CartPoleVectorEnv.covers(config):
        return CartPoleVectorEnv(size, config.max_episode_steps)
    num_workers = automatic_workers(size) if config.workers == "auto" else min(config.workers, size - 1)
    return WorkerVectorEnv(config, size, num_workers, crew) if num_workers else GymnasiumVectorEnv(config, size)


def refuse_foreign_paths(config: EnvConfig) -> None:
    """Raise UsageError for a path that a config, perhaps a stranger's, has an environment open that nobody imported.

    One that was given on the command line is the user's own choice, and as good as an import of that package: so it
    stands in the run, in whose config it is a path like any other, and in the commands that are printed.
    """
    paths = {
        key: text
        for key, value in config.kwargs.items()
        for text in leaves(value)
        if isinstance(text, str) and not re.fullmatch(r"[\w+-][\w +-]*", text)
    }
    package = package_of(config.id)
    plugins = {plugin.module.partition(".")[0] for plugin in entry_points(group="gymnasium.envs")} if paths else set()
    is_foreign = package in {"gymnasium", *plugins} and not is_imported(package)
    if not paths or not (config.backend == "envpool" or is_foreign):
        return
    for key, text in paths.items():
        if not isinstance(text, Given):
            raise UsageError(
                f"env.kwargs: {key} is {SHORT.repr(text)}, which may be a path: give it on the command line, "
                f"--set env.kwargs.{key}=…, or --import {package or 'envpool'}, if you trust who wrote it"
            )
    import_modules([package or "envpool"])


def automatic_workers(num_envs: int) -> int:
    """Return how many worker processes pay: one for each further core while each process has 8 environments to step.

    From 4 environments on it is one at least, which is there for evaluations anyway.
    """
    processes = max(num_envs // ENVIRONMENTS_PER_PROCESS, min(num_envs // 2, 2))
    return max(0, min(usable_cores(), processes) - 1)
