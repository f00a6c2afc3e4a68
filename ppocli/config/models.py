"""The config as a whole: what follows from it, what its sections ask of each other, and what it was once called."""

import itertools
import math
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from typing import Annotated, Any

import yaml
from pydantic import model_validator

from ppocli.config import values
from ppocli.config.sections import (
    ALGORITHMS,
    MAX_BATCH_SIZE,
    Algorithm,
    EnvConfig,
    EvaluationConfig,
    Key,
    NetworkConfig,
    NPGConfig,
    PPOConfig,
    RolloutConfig,
    TrainConfig,
    TRPOConfig,
    UpdateConfig,
    VPGConfig,
)

MAX_WEIGHTS = 50_000_000  # between hidden layers: more than CPUs train in useful time, a checkpoint still below 2 GB
AUTOMATIC_SNAPSHOTS, SMALL_AGENT = 5, 1_000_000  # of an agent below so many bytes


class Config(values.Section):
    """Everything a run depends on. Only `env.id` has no default."""

    algorithm: Annotated[Algorithm, Key()] = "ppo"
    """Which update learns from a batch; the section of its name is its own, and those of others are ignored."""
    env: EnvConfig
    network: NetworkConfig = NetworkConfig()
    rollout: RolloutConfig = RolloutConfig()
    update: UpdateConfig = UpdateConfig()
    ppo: PPOConfig = PPOConfig()
    vpg: VPGConfig = VPGConfig()
    npg: NPGConfig = NPGConfig()
    trpo: TRPOConfig = TRPOConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def evaluated_in(self) -> EnvConfig:
        """The task as the agent is measured and watched in it."""
        lasting = tuple(wrapper for wrapper in self.env.wrappers if not wrapper.get("training_only"))
        kwargs = self.env.kwargs | self.evaluation.env_kwargs
        return self.env.model_copy(update={"kwargs": kwargs, "wrappers": lasting})

    @property
    def batch_size(self) -> int:
        """Env steps in one iteration: horizon × num_envs."""
        return self.rollout.horizon * self.env.num_envs

    @property
    def num_iterations(self) -> int:
        """Iterations that hold at least `train.env_steps` env steps."""
        return math.ceil(self.train.env_steps / self.batch_size)

    @property
    def total_env_steps(self) -> int:
        """Env steps of all iterations."""
        return self.num_iterations * self.batch_size

    @property
    def has_baseline(self) -> bool:
        """Whether advantages are measured by the critic's values."""
        return self.algorithm != "vpg" or self.vpg.baseline

    def schedule_share(self, iteration: int) -> float:
        """Return the share of the schedules, at most 1, that is over when so many iterations are."""
        length = math.ceil((self.train.schedule_env_steps or self.train.env_steps) / self.batch_size)
        return min(iteration / length, 1.0)

    @property
    def checkpoint_iterations(self) -> int:
        """Iterations from one `last` checkpoint to the next: `train.checkpoint_interval` env steps, rounded up."""
        return math.ceil(self.train.checkpoint_interval / self.batch_size)

    def snapshot_iterations(self, agent_bytes: int) -> set[int]:
        """Return after how many iterations an agent is kept: none, a sixteenth, a quarter, 9/16, all, where 5 are."""
        count = self.train.snapshots
        if count == "auto":
            count = AUTOMATIC_SNAPSHOTS if agent_bytes < SMALL_AGENT else 0
        return {round(self.num_iterations * (1 - place / max(count - 1, 1)) ** 2) for place in range(count)}

    @model_validator(mode="before")
    @classmethod
    def _has_todays_names(cls, written: Any) -> Any:
        return by_todays_names(written) if isinstance(written, dict) else written

    @model_validator(mode="after")
    def _has_one_algorithm(self) -> "Config":
        # What the others would do makes no difference to a run, nor two runs of what is one.
        for other in self._other_algorithms:
            object.__setattr__(self, other, Config.model_fields[other].default)
        if self.algorithm != "ppo":  # each of the others learns actor and critic apart
            object.__setattr__(self, "network", self.network.model_copy(update={"shared_cnn": False}))
        return self

    @model_validator(mode="after")
    def _wraps_single_environments(self) -> "Config":
        atari = self.env.backend == "envpool" and self.env.id.startswith("ALE/")  # which has ways of its own
        if self.env.wrappers and self.env.backend != "gymnasium" and not atari:
            raise ValueError(
                f"env.wrappers: go around single environments, which env.backend: {self.env.backend} has not"
            )
        return self

    @model_validator(mode="after")
    def _learns_from_sequences(self) -> "Config":
        if self.network.memory is None:
            return self
        if self.algorithm != "ppo" or not self.network.shared_cnn:
            raise ValueError(
                "network.memory: goes with algorithm: ppo and network.shared_cnn: true: actor and critic share it"
            )
        if self.update.minibatch_size % self.rollout.horizon:
            raise ValueError(
                f"update.minibatch_size: {self.update.minibatch_size} is no multiple of rollout.horizon, "
                f"{self.rollout.horizon}, and a memory learns from whole sequences; {self.rollout.horizon} would fit"
            )
        return self

    @model_validator(mode="after")
    def _has_one_instance(self) -> "Config":
        env = self.env
        if env.single_instance and (env.num_envs > 1 or env.workers not in ("auto", 0) or env.backend != "gymnasium"):
            raise ValueError(
                "env.single_instance: goes with env.num_envs: 1, env.backend: gymnasium and no env.workers"
            )
        if env.single_instance and self.evaluated_in != env:
            raise ValueError(
                "env.single_instance: takes no evaluation.env_kwargs, and no wrapper that is training_only"
            )
        return self

    @model_validator(mode="after")
    def _network_is_small(self) -> "Config":
        memory = self.network.memory.size if self.network.memory else 0
        if 3 * memory**2 > MAX_WEIGHTS:
            raise ValueError(f"network.memory.size: {3 * memory**2:,} weights; at most {MAX_WEIGHTS:,} are allowed")
        for name in ("hidden_sizes", "critic_hidden_sizes"):
            weights = sum(inputs * units for inputs, units in itertools.pairwise(getattr(self.network, name) or ()))
            if weights > MAX_WEIGHTS:
                raise ValueError(
                    f"network.{name}: {weights:,} weights between them; at most {MAX_WEIGHTS:,} are allowed"
                )
        return self

    @model_validator(mode="after")
    def _minibatches_fill_the_batch(self) -> "Config":
        num_envs, horizon, minibatch_size = self.env.num_envs, self.rollout.horizon, self.update.minibatch_size
        batch = f"env.num_envs × rollout.horizon = {num_envs} × {horizon} = {self.batch_size}"
        if not 2 <= self.batch_size <= MAX_BATCH_SIZE:
            raise ValueError(f"{batch} samples; an update learns from 2 to {MAX_BATCH_SIZE:,}")
        if self.batch_size % minibatch_size:
            smaller = range(min(minibatch_size, self.batch_size), 1, -1)
            fits = next((size for size in smaller if self.batch_size % size == 0), self.batch_size)
            raise ValueError(f"update.minibatch_size: {minibatch_size} does not divide {batch}; {fits} would")
        return self

    def leaves(self) -> dict[str, Any]:
        """Return each value under its dotted key; a schedule and `env.kwargs` are a value as a whole."""
        dumped = self.model_dump(mode="json")
        return {name: reduce(getitem, name.split("."), dumped) for name in KEYS}

    def changed(self, section: str, **values: Any) -> "Config":
        """Return the same config with other values, valid ones, in one of its sections."""
        return self.model_copy(update={section: getattr(self, section).model_copy(update=values)})

    def to_yaml(self) -> str:
        """Return the config as YAML that `load_config` reads back to an equal one."""
        return yaml.safe_dump(self.as_written(), sort_keys=False)

    def as_written(self) -> dict[str, Any]:
        """Return the config as files hold it: without the sections of other algorithms."""
        return self.model_dump(mode="json", exclude=self._other_algorithms)

    @property
    def _other_algorithms(self) -> set[str]:
        return set(ALGORITHMS) - {self.algorithm}


def _keys(model: type[values.Section], prefix: str = "") -> Iterator[tuple[str, Key]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, values.Section):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", next(said for said in field.metadata if isinstance(said, Key))


KEYS = dict(_keys(Config))  # what each key says about itself, under its dotted name
RENAMED = {f"ppo.{name.partition('.')[2]}": name for name in KEYS if name.startswith(("rollout.", "update."))}
"""What every algorithm shares stood in the section `ppo` once; configs and `--set` may call it so for ever."""


def by_todays_names(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with each key where it stands today, wherever it stood when it was written."""
    # Copied, as YAML may use one mapping in two places.
    found = {name: dict(section) if isinstance(section, dict) else section for name, section in written.items()}
    for section, _, key in (new.partition(".") for new in RENAMED.values()):
        source, target = found.get("ppo"), found.get(section, {})
        # What stands there by both names stays, and is refused as an unknown key.
        if isinstance(source, dict) and key in source and isinstance(target, dict) and key not in target:
            found[section] = target | {key: source.pop(key)}
    return found


def as_it_was(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config that a run has stored with the keys that there were not yet, as what was done without them."""
    before = {"env": {"action_masks": False, "pictures": False}}
    return {
        name: before.get(name, {}) | section if isinstance(section, dict) else section
        for name, section in written.items()
    }
