"""The same task in other units is learned alike, by the defaults: whatever a stranger measures in, it is the task."""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from ppocli.config.models import Config
from ppocli.envs.make import evaluation_envs
from ppocli.evaluation.agents import load_agent
from ppocli.evaluation.play import evaluate, greedy
from ppocli.records import checkpoint
from tests.jobs import trained

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import suite_tasks

UNITS = suite_tasks.DISTORTIONS
TOLERANCE = {"CartPole-v1": 25, "Reach-v0": 1}  # a twentieth of the way from choosing blindly to the best known
gym.register(
    "Identity-box-rewards-x1024-v0",
    lambda **options: suite_tasks.Distorted(gym.make("Identity-box-v0", **options), reward_scale=1024.0),
)


def last_checkpoint(task, folder, env_steps, seed=0):
    """Train with defaults alone; return the last checkpoint, and the config."""
    settings = {"env_steps": env_steps, "eval_interval": 10**9, "eval_episodes": 1, "target_return": 1e9, "seed": seed}
    config = Config.model_validate({"env": {"id": task, "workers": 0}, "train": settings})
    run, _ = trained(config, folder / f"{task}-{seed}")
    return checkpoint.load(run.checkpoint("last")), config


def greedy_return(task, folder, env_steps, seed=0, episodes=20):
    """Return what a trained agent's episodes have on average, in the units of the task that this is a twin of."""
    last, config = last_checkpoint(task, folder, env_steps, seed)
    envs = evaluation_envs(config.env)
    played = evaluate(envs, greedy(load_agent(last, envs)), range(1_000_000, 1_000_000 + episodes))
    return np.mean([suite_tasks.plain_return(task, one.episode_return, one.episode_length) for one in played])


def test_a_power_of_two_in_rewards_changes_no_bit(tmp_path):
    """No number of the learner's has a size of its own: the same weights, as the scaling is exact."""
    plain, scaled = (
        last_checkpoint(f"Identity-box{unit}-v0", tmp_path, 3000)[0].part("agent") for unit in ("", "-rewards-x1024")
    )
    assert all(np.array_equal(weights, scaled[name]) for name, weights in plain.items())


@pytest.fixture(scope="module")
def plain_return(tmp_path_factory):
    return greedy_return("Identity-box-v0", tmp_path_factory.mktemp("plain"), 10_000)


@pytest.mark.parametrize("unit", UNITS)
def test_the_identity_task_is_learned_in_any_units(unit, plain_return, tmp_path):
    """Choosing blindly has 34.6, answering exactly 100."""
    assert greedy_return(f"Identity-box-{unit}-v0", tmp_path, 10_000) >= plain_return - 5


@pytest.mark.slow
@pytest.mark.parametrize("plain", ["CartPole-v1", "Reach-v0"])
def test_tasks_are_learned_in_any_units(plain, tmp_path):
    """As well as they are in their own, within what another seed changes."""
    seeds, name = range(3), plain.rpartition("-v")[0]
    units = [unit for unit in UNITS if plain == "Reach-v0" or not unit.startswith("actions")]

    def returns(task):
        return np.array([greedy_return(task, tmp_path, 50_000, seed) for seed in seeds])

    own, others = returns(plain), {unit: returns(f"{name}-{unit}-v0") for unit in units}
    worse = [unit for unit, found in others.items() if found.mean() < own.mean() - TOLERANCE[plain]]
    assert worse == []
