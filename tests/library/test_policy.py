"""A trained agent as a function, beside how it acts in evaluations."""

from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

import examples.catch
import examples.tmaze  # noqa: F401 - register their environments
import ppocli
from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import NUM_EVAL_ENVS
from ppocli.evaluation.agents import load_agent
from ppocli.evaluation.play import greedy
from ppocli.library import TrainedPolicy
from ppocli.records import checkpoint
from ppocli.records.run import Run
from tests.jobs import trained

TINY = {
    "network": {"hidden_sizes": [8]},
    "rollout": {"horizon": 16},
    "update": {"minibatch_size": 32, "update_epochs": 1},
    "train": {"env_steps": 128, "eval_interval": 10_000, "eval_episodes": 1},
}


def policy_of(folder, env_id, network=None, **env):
    config = {"env": {"id": env_id, "num_envs": 4, "workers": 0, **env}, **TINY}
    run, _ = trained(Config.model_validate(config | ({"network": network} if network else {})), folder / "run")
    return TrainedPolicy(checkpoint.load(run.checkpoint("last")))


def batched(space, observations):
    return concatenate(space, observations, create_empty_array(space, len(observations)))


KINDS = {
    "a choice": ("CartPole-v1", {}),
    "real numbers, bounded": ("Pendulum-v1", {}),
    "choices": ("Echo-v0", {"kwargs": {"kind": "multi-discrete"}}),
    "one-hot": ("Taxi-v4", {"action_masks": False}),
    "a tuple": ("Blackjack-v1", {}),
    "a dictionary with a picture": ("CameraCatch-v0", {}),
    "a picture alone": ("CameraCatch-v0", {"kwargs": {"sees": "camera"}}),
    "wrapped": ("CartPole-v1", {"wrappers": [{"id": "FrameStackObservation", "stack_size": 3}]}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_actions_are_the_environments_and_those_of_evaluations(kind, tmp_path):
    env_id, settings = KINDS[kind]
    policy = policy_of(tmp_path, env_id, **settings)
    with closing(GymnasiumVectorEnv(EnvConfig(id=env_id, **settings), NUM_EVAL_ENVS)) as envs:
        agent = greedy(load_agent(policy.checkpoint, envs))
        rows = envs.reset(range(envs.num_envs), range(envs.num_envs))
        expected = envs._to_env(agent(rows, None, [])[0])
        env = envs._envs[0]
        observations = [env.reset(seed=seed)[0] for seed in range(envs.num_envs)]
        single = [policy(obs) for obs in observations]
        for action in single:
            assert env.action_space.contains(action)
        np.testing.assert_allclose(np.array(single), expected, rtol=1e-5)
        many = policy(batched(policy.observation_space, observations))
        np.testing.assert_allclose(many, expected, rtol=1e-6)
        assert batch_space(env.action_space, envs.num_envs).contains(many)


def test_one_with_a_memory_remembers_and_forgets(tmp_path):
    network = {"hidden_sizes": [8], "memory": {"size": 8}}
    policy = policy_of(tmp_path, "TMaze-v0", network)
    obs = np.array([[1, 0], [-1, 0], [1, 0]], np.float32)
    first = policy(obs)
    states = policy._states.copy()
    policy(obs)
    assert (policy._states != states).any(axis=1).all()
    policy.reset([True, False, True])
    assert policy._states.any(axis=1).tolist() == [False, True, False]
    policy.reset()
    np.testing.assert_array_equal(policy(obs), first)
    np.testing.assert_array_equal(policy._states, states)
    with pytest.raises(ppocli.PpocliError, match=r"remembers what it was shown of 3 .* now it is 1; policy.reset\(\)"):
        policy(obs[0])


def test_actions_drawn_as_in_training_are_of_the_seed(tmp_path):
    policy = policy_of(tmp_path, "CartPole-v1")
    obs = np.zeros((50, 4), np.float32)
    drawn = []
    for seed in (0, 0, 1):
        policy.reset(seed=seed)
        drawn.append(policy(obs, deterministic=False).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == {0, 1}


def test_what_is_not_allowed_is_not_done(tmp_path):
    policy = policy_of(tmp_path, "Taxi-v4")
    masks = np.eye(6, dtype=np.int8)
    assert [policy(3, action_mask=mask) for mask in masks] == [0, 1, 2, 3, 4, 5]
    assert policy(np.full(6, 3), action_mask=masks).tolist() == [0, 1, 2, 3, 4, 5]
    everywhere = np.arange(500)
    by_default = policy(everywhere)
    assert by_default.tolist() == policy(everywhere, action_mask=np.ones((500, 6), np.int8)).tolist()
    assert len(set(by_default.tolist())) > 1  # as all is allowed
    for obs, mask in [(3, [1, 0]), (np.full(2, 3), masks)]:
        with pytest.raises(ppocli.PpocliError, match="the policy was shown something else than its task shows"):
            policy(obs, action_mask=mask)


@pytest.mark.parametrize("obs", [np.zeros(3), np.zeros((2, 3)), "cart", None, {"x": 1}, [[0, 0, 0, 0], [0, 0]]])
def test_what_its_task_would_not_show_is_refused(obs, tmp_path):
    policy = policy_of(tmp_path, "CartPole-v1")
    with pytest.raises(ppocli.PpocliError, match="the policy was shown something else than its task shows: its"):
        policy(obs)


def test_it_says_what_it_is(tmp_path):
    policy = policy_of(tmp_path, "CartPole-v1")
    assert repr(policy) == f"<policy of {Run(tmp_path / 'run').checkpoint('last')}, CartPole-v1>"
    assert policy.observation_space == gym.make("CartPole-v1").observation_space
