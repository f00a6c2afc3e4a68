"""From a config to the update that it names."""

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.updates.api import Update
from ppocli.algorithm.updates.npg import NPG
from ppocli.algorithm.updates.ppo import PPO
from ppocli.algorithm.updates.trpo import TRPO
from ppocli.algorithm.updates.vpg import VPG
from ppocli.config.models import Config


def make_update(config: Config, agent: Agent) -> Update:
    """Return the update of `config.algorithm`. The agent must lie on its device already: its weights become views."""
    match config.algorithm:
        case "ppo":
            return PPO(agent, config.update, config.ppo)
        case "vpg":
            return VPG(agent, config.update, config.vpg)
        case "npg":
            return NPG(agent, config.update, config.npg)
        case "trpo":
            return TRPO(agent, config.update, config.trpo)
