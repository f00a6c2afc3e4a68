"""From a checkpoint to what it holds the state of."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ppocli.algorithm.agent import Agent
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import VectorEnv
from ppocli.errors import UsageError
from ppocli.records.checkpoint import Checkpoint


def load_agent(saved: Checkpoint, envs: VectorEnv) -> Agent:
    """Return the agent, on the CPU. Raises CheckpointError if its weights are not for such an environment."""
    return _filled(_shapes_alone(envs, saved.config.network), saved)


def agent_from(saved: Checkpoint, network: NetworkConfig, envs: VectorEnv) -> Agent:
    """Return an agent for other environments that knows what the saved one does. Raises UsageError if it cannot."""
    agent = _shapes_alone(envs, network)
    here = {name: tuple(values.shape) for name, values in agent.state_dict().items()}
    there = {name: values.shape for name, values in saved.part("agent").items()}
    for name in [*here, *sorted(there)]:
        if here.get(name) != there.get(name):
            shapes = f"{there.get(name, 'missing')} there and {here.get(name, 'missing')} here"
            same = "observations, actions and network must be of the same form"
            raise UsageError(f"--from {saved.path}: its {name} does not fit, {shapes}; {same}")
    if (known := saved.config.network.activation) != network.activation:
        raise UsageError(
            f"--from {saved.path}: its network.activation is {known}, and here {network.activation}; the same weights "
            "mean something else to each"
        )
    return _filled(agent, saved)


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
