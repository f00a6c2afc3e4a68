"""From a config to the update that it names."""

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.updates.api import Update
from ppocli.algorithm.updates.ppo import PPO
from ppocli.config.models import Config


def make_update(config: Config, agent: Agent) -> Update:
    """Return the update of `config.algorithm`. The agent must lie on its device already: its weights become views."""
    match config.algorithm:
        case "ppo":
            return PPO(agent, config.update, config.ppo)
