"""From a config to environments: what each run trains and is evaluated in."""

from dataclasses import dataclass

from ppocli.config import Config, EnvConfig
from ppocli.envs.api import VectorEnv
from ppocli.envs.cartpole import CartPoleVectorEnv
from ppocli.envs.envpool import EnvPoolVectorEnv
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.workers import WorkerVectorEnv, automatic_workers
from ppocli.errors import UsageError
from ppocli.seeds import training_seeds

SLOTS = 20
"""Environments that an evaluation plays in."""


@dataclass(frozen=True)
class Environments:
    """What a training run plays in."""

    training: VectorEnv
    evaluation: VectorEnv

    def close(self) -> None:
        """Close both."""
        self.training.close()
        self.evaluation.close()


def make_environments(config: Config, iterations: int = 0) -> Environments:
    """Make the environments of a training run, which has so many iterations behind it.

    Raises UsageError and PpocliError as the backends do.

    Their worker processes take a while to start: what else takes long is best done after this.
    """
    if config.env.backend == "envpool":
        # Its episodes all follow from this one seed, and a resumed run is not to play its first ones again.
        seed = training_seeds(config.train.seed)(0, iterations)
        training: VectorEnv = EnvPoolVectorEnv(config.env, config.env.num_envs, seed)
    else:
        training = _gymnasium_envs(config.env, config.env.num_envs)
    try:
        environments = Environments(training, evaluation_envs(config.env))
        if (training.obs_size, training.action_spec) != (
            environments.evaluation.obs_size,
            environments.evaluation.action_spec,
        ):
            environments.evaluation.close()
            raise UsageError(
                f"env.backend: {config.env.backend} has a {config.env.id} of another form than Gymnasium's, in which "
                "agents are evaluated; use env.backend: gymnasium"
            )
        return environments
    except BaseException:
        training.close()
        raise


def evaluation_envs(config: EnvConfig) -> VectorEnv:
    """Return the environments to evaluate in: Gymnasium's own, whatever backend trained.

    There are always SLOTS of them, however few episodes are played (one that is not needed is never made): torch may
    give other last bits for batches of another shape, and an episode must not depend on how many are played beside it.
    """
    return _gymnasium_envs(config, SLOTS)


def _gymnasium_envs(config: EnvConfig, num_envs: int) -> VectorEnv:
    if CartPoleVectorEnv.covers(config):
        return CartPoleVectorEnv(num_envs)
    num_workers = automatic_workers(num_envs) if config.workers == "auto" else min(config.workers, num_envs - 1)
    return WorkerVectorEnv(config, num_envs, num_workers) if num_workers else GymnasiumVectorEnv(config, num_envs)
