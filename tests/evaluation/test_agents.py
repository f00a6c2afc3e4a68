"""From a checkpoint to an agent: only if the one is made for the other."""

import numpy as np
import pytest
import torch

from ppocli.algorithm.agent import Agent
from ppocli.config.models import Config
from ppocli.envs.api import Discrete, Vector
from ppocli.envs.make import evaluation_envs
from ppocli.errors import CheckpointError
from ppocli.evaluation import agents
from ppocli.evaluation.agents import fitting, load_agent
from ppocli.evaluation.play import evaluate, greedy
from ppocli.records.checkpoint import Checkpoint, Progress

CONFIG = Config.model_validate(
    {"env": {"id": "CartPole-v1"}, "network": {"hidden_sizes": [8], "normalize_obs": True}},
)
ENVS = evaluation_envs(CONFIG.env)


def make_agent(config=CONFIG):
    return Agent(ENVS.obs_spec, ENVS.action_spec, config.network, torch.Generator().manual_seed(0))


def saved(tmp_path, config=CONFIG, **changes):
    """A checkpoint with an agent's weights, some of them changed; None leaves one out."""
    agent = make_agent()
    agent.learn_obs(torch.randn(50, 4, generator=torch.Generator().manual_seed(1)))
    arrays = {f"agent.{name}": tensor.numpy() for name, tensor in agent.state_dict().items()} | changes
    whole = {name: values for name, values in arrays.items() if values is not None}
    return Checkpoint(tmp_path / "x.safetensors", config, Progress(), {}, whole), agent


def test_an_agent_is_loaded_to_the_bit(tmp_path):
    checkpoint, agent = saved(tmp_path)
    loaded = load_agent(checkpoint, ENVS)
    assert loaded.state_dict().keys() == agent.state_dict().keys()
    for name, tensor in agent.state_dict().items():
        assert loaded.state_dict()[name].equal(tensor), name
        assert loaded.state_dict()[name].dtype == tensor.dtype
    assert loaded.device == torch.device("cpu")
    seeds = list(range(30))
    assert evaluate(ENVS, greedy(loaded), seeds) == evaluate(ENVS, greedy(agent), seeds)


@pytest.mark.parametrize(
    "changes",
    [
        {"agent.critic.0.bias": None},
        {"agent.more": np.zeros(3, np.float32)},
        {"agent.critic.0.bias": np.zeros(9, np.float32)},
        {"agent.critic.0.bias": np.zeros((8, 1), np.float32)},
        {"agent.critic.0.bias": np.zeros(8, np.float64)},
        {"agent.critic.0.bias": np.zeros(8, np.complex64)},
        {"agent.normalizer.statistics.mean": None},
    ],
    ids=range(7),
)
def test_weights_that_do_not_fit_are_refused(tmp_path, changes):
    checkpoint, _ = saved(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=r"x.safetensors: its agent does not fit CartPole-v1 and its own config"):
        load_agent(checkpoint, ENVS)


def test_what_fits_without_loss_is_taken(tmp_path):
    """Apple's GPUs know no float64: what they save of it is float32."""
    checkpoint, _ = saved(tmp_path, **{"agent.normalizer.statistics.mean": np.float32([1, 2, 3, 4])})
    mean = load_agent(checkpoint, ENVS).normalizer.statistics.mean
    assert (mean.tolist(), mean.dtype) == ([1, 2, 3, 4], torch.float64)


def test_no_memory_is_taken_for_a_config_that_promises_more_than_there_is(tmp_path, monkeypatch):
    promising = CONFIG.model_copy(update={"network": CONFIG.network.model_copy(update={"hidden_sizes": (7000, 7000)})})
    checkpoint, _ = saved(tmp_path, promising)
    compared, made = {}, []

    def looking(saved, part, own):
        compared.update(own)
        return fitting(saved, part, own)

    monkeypatch.setattr(agents, "fitting", looking)
    monkeypatch.setattr(Agent, "to_empty", lambda *_, **__: made.append(True))
    with pytest.raises(CheckpointError, match="its agent does not fit"):
        load_agent(checkpoint, ENVS)
    assert compared["actor.2.weight"].shape == (7000, 7000)
    assert {tensor.device.type for tensor in compared.values()} == {"meta"}
    assert made == []


def test_any_part_must_be_all_there_is(tmp_path):
    checkpoint, _ = saved(tmp_path, **{"other.x": np.zeros(2)})
    assert fitting(checkpoint, "other", {"x": torch.ones(2, dtype=torch.float64)})["x"].tolist() == [0, 0]
    for own in ({}, {"y": torch.ones(2)}, {"x": torch.ones(2)}, {"x": torch.ones(2, 1, dtype=torch.float64)}):
        with pytest.raises(CheckpointError, match="its other does not fit"):
            fitting(checkpoint, "other", own)


def test_an_agent_of_another_environment_is_refused(tmp_path):
    class Others:
        obs_spec, action_spec = Vector(8), Discrete(4)

    checkpoint, _ = saved(tmp_path)
    with pytest.raises(CheckpointError, match="its agent does not fit CartPole-v1"):
        load_agent(checkpoint, Others())
