"""One file that holds a whole training state: safetensors, with one JSON entry in its header. Nothing is unpickled."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from ppocli import __version__
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.normalize import RewardNormalizer
from ppocli.algorithm.ppo import PPO
from ppocli.config import Config, parse_config
from ppocli.envs.api import VectorEnv
from ppocli.errors import CheckpointError, UsageError
from ppocli.files import write_atomically

FORMAT = 1
_HEADER_KEY = "ppocli"


@dataclass(frozen=True)
class Progress:
    """How far training has come. With the seed it also says where every random stream stands (see `ppocli.seeds`)."""

    iterations: int = 0
    env_steps: int = 0
    seconds: float = 0.0
    episodes: int = 0
    best_return: float | None = None
    solved_at_env_steps: int | None = None
    solved_at_seconds: float | None = None


class _Header(BaseModel):
    """What stands in a checkpoint's header."""

    model_config = ConfigDict(strict=True)

    format: int
    config: dict[str, Any]
    progress: Progress
    versions: dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    path: Path
    config: Config
    progress: Progress
    versions: dict[str, str]
    agent: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    rewards: dict[str, Tensor]

    def build_agent(self, envs: VectorEnv) -> Agent:
        """Return the agent, on the CPU. Raises CheckpointError if its weights are not for such an environment."""
        agent = Agent(envs.obs_size, envs.action_spec, **dict(self.config.network))
        expected = {name: tuple(tensor.shape) for name, tensor in agent.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in self.agent.items()}
        if expected != found:
            raise CheckpointError(f"{self.path}: its weights do not fit {self.config.env.id} and its own config")
        if not all(tensor.isfinite().all() for tensor in self.agent.values()):
            raise CheckpointError(f"{self.path}: some of its weights are not finite numbers")
        agent.load_state_dict(self.agent)
        return agent


def versions() -> dict[str, str]:
    """Return the versions of everything that results depend on."""
    return {"ppocli": __version__, **{name: version(name) for name in ("torch", "gymnasium", "box2d", "numpy")}}


def save(path: Path, config: Config, progress: Progress, ppo: PPO, rewards: RewardNormalizer) -> None:
    """Write a checkpoint so that `path` is whole at any moment. Raises OSError."""
    parts = {"agent": ppo.agent.state_dict(), "optimizer": ppo.state_dict(), "rewards": rewards.state_dict()}
    tensors = {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
    header = _Header(format=FORMAT, config=config.model_dump(mode="json"), progress=progress, versions=versions())
    metadata = {_HEADER_KEY: json.dumps(header.model_dump(), sort_keys=True, allow_nan=False)}
    write_atomically(path, safetensors.torch.save(tensors, metadata))


def load(path: Path) -> Checkpoint:
    """Read and check a checkpoint. Raises CheckpointError, one line that says what is wrong with the file."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a checkpoint, or a damaged one: {error}") from error
    try:
        header = _Header.model_validate_json(metadata.get(_HEADER_KEY, ""))
        if header.format != FORMAT:
            raise CheckpointError(f"{path}: checkpoint format {header.format}, but this ppocli reads {FORMAT}")
        config = parse_config(header.config, str(path))
    except ValidationError as error:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of ppocli") from error
    except UsageError as error:
        raise CheckpointError(f"the config inside {error}") from error
    return Checkpoint(
        path=path,
        config=config,
        progress=header.progress,
        versions=header.versions,
        agent=_below("agent.", tensors),
        optimizer=_below("optimizer.", tensors),
        rewards=_below("rewards.", tensors),
    )


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
