"""Five tasks so small that each isolates one fault; all of them through the real training loop."""

from contextlib import closing
from itertools import islice

import numpy as np
import pytest
import torch

from ppocli.config.models import Config
from ppocli.envs.make import evaluation_envs
from ppocli.evaluation.agents import load_agent
from ppocli.records import checkpoint
from ppocli.records.run import Run
from tests.jobs import train


def trained_agent(kind, folder, iterations):
    config = Config.model_validate(
        {
            "env": {"id": "Probe-v0", "kwargs": {"kind": kind}, "num_envs": 8},
            "network": {"hidden_sizes": [16]},
            "rollout": {"horizon": 16, "gamma": 0.5, "normalize_rewards": False},
            "update": {"minibatch_size": 32, "learning_rate": 0.01, "max_grad_norm": 10},
            "train": {"env_steps": 1_000_000, "eval_interval": 1_000_000},
        }
    )
    run = Run(folder / kind)
    with closing(train(config, run)) as training:
        for _ in islice(training, iterations):
            pass
    return load_agent(checkpoint.load(run.checkpoint("last")), evaluation_envs(config.env))


def values(agent, *observations):
    return agent.value(torch.tensor(observations).unsqueeze(-1)).tolist()


def probabilities(agent, observation):
    return agent.actor(torch.tensor([[observation]])).softmax(-1)[0].tolist()


def test_constant_reward_the_critic_learns_at_all(tmp_path):
    agent = trained_agent("constant-reward", tmp_path, 10)
    assert values(agent, 0.0) == pytest.approx([1.0], abs=0.05)


def test_value_from_obs_the_critic_sees_its_input(tmp_path):
    agent = trained_agent("value-from-obs", tmp_path, 20)
    assert values(agent, -1.0, 1.0) == pytest.approx([-1.0, 1.0], abs=0.1)


def test_discounting_a_reward_reaches_the_step_before(tmp_path):
    agent = trained_agent("discounting", tmp_path, 30)
    assert values(agent, 0.0, 1.0) == pytest.approx([0.5, 1.0], abs=0.05)


def test_reward_from_action_the_policy_gradient_points_up(tmp_path):
    agent = trained_agent("reward-from-action", tmp_path, 10)
    assert probabilities(agent, 0.0)[1] > 0.95


def test_reward_from_obs_and_action_the_policy_sees_its_input(tmp_path):
    agent = trained_agent("reward-from-obs-and-action", tmp_path, 20)
    assert probabilities(agent, -1.0)[0] > 0.95
    assert probabilities(agent, 1.0)[1] > 0.95
    assert np.abs(values(agent, -1.0, 1.0)).min() > 0.7
