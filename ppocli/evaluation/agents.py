"""From a checkpoint to what it holds the state of."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppocli.algorithm.agent import Agent
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Pictures, VectorEnv
from ppocli.errors import UsageError
from ppocli.records.checkpoint import Checkpoint


def load_agent(saved: Checkpoint, envs: VectorEnv) -> Agent:
    """Return the agent, on the CPU. Raises CheckpointError if its weights are not for such an environment."""
    return _filled(_shapes_alone(envs, saved.config.network), saved)


def agent_from(saved: Checkpoint, network: NetworkConfig, envs: VectorEnv) -> Agent:
    """Return an agent for other environments that knows what the saved one does. Raises UsageError if it cannot."""
    there, here = (one.model_dump() for one in (saved.config.network, network))
    names = ("memory", "hidden_sizes", "critic_hidden_sizes", "activation", "normalize_obs")
    for name in (*names, *(("cnn", "shared_cnn") if isinstance(envs.obs_spec, Pictures) else ())):
        if there[name] != here[name]:
            raise _no_heir(saved, f"network.{name}", there[name], here[name])
    agent = _shapes_alone(envs, network)
    shapes = {name: tuple(values.shape) for name, values in agent.state_dict().items()}
    known = {name: values.shape for name, values in saved.part("agent").items()}
    for name in [*shapes, *sorted(known)]:
        if shapes.get(name) != known.get(name):
            is_first = name.startswith("normalizer") or shapes.get(name, ())[1:] != known.get(name, ())[1:]
            part = "observations" if is_first else "actions"
            raise _no_heir(saved, f"form of {part} ({name})", known.get(name, "missing"), shapes.get(name, "missing"))
    return _filled(agent, saved)


def _no_heir(saved: Checkpoint, what: str, there: Any, here: Any) -> UsageError:
    same = "observations, actions and network must be of the same form"
    return UsageError(f"--from {saved.path}: its {what} is {there}, and here {here}; {same}")


def _shapes_alone(envs: VectorEnv, network: NetworkConfig) -> Agent:
    with torch.device("meta"):  # as a config may promise more than there is
        return Agent(envs.obs_spec, envs.action_spec, network)


def _filled(agent: Agent, saved: Checkpoint) -> Agent:
    state = fitting(saved, "agent", agent.state_dict())
    agent.load_state_dict(state, assign=True)  # to_empty would bring in sympy, a fifth of a second
    return agent


def fitting(saved: Checkpoint, part: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a part of a checkpoint. Raises CheckpointError unless its `own` form can hold all of it, with no loss."""
    found = {name: torch.tensor(values) for name, values in saved.part(part).items()}
    if own.keys() != found.keys() or not all(_holds(own[name], found[name]) for name in own):
        raise saved.misfit(part)
    return {name: values.to(own[name].dtype) for name, values in found.items()}


def _holds(own: Tensor, found: Tensor) -> bool:
    return own.shape == found.shape and torch.promote_types(own.dtype, found.dtype) == own.dtype
