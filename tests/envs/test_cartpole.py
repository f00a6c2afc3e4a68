"""The vectorised CartPole against Gymnasium's single one."""

import numpy as np

from ppocli.config.sections import EnvConfig
from ppocli.envs.cartpole import CartPoleVectorEnv
from ppocli.envs.gymnasium import GymnasiumVectorEnv


def test_every_episode_is_that_of_gymnasium_to_the_bit():
    num_envs = 8
    ours, theirs = CartPoleVectorEnv(num_envs), GymnasiumVectorEnv(EnvConfig(id="CartPole-v1"), num_envs)
    rng = np.random.default_rng(0)
    everywhere = range(num_envs)
    obs = ours.reset(everywhere, everywhere)
    assert np.array_equal(obs, theirs.reset(everywhere, everywhere))
    episodes, truncations = 0, 0
    for number in range(2500):
        # Half of them balanced by hand, so that some episodes reach the time limit.
        actions = np.where(np.arange(num_envs) % 2, obs[:, 2] + 0.5 * obs[:, 3] > 0, rng.integers(2, size=num_envs))
        step, expected = ours.step(actions), theirs.step(actions)
        assert all(np.array_equal(one, other) for one, other in zip(step[:4], expected[:4], strict=True))
        obs = step.obs
        ended = np.flatnonzero(step.terminated | step.truncated).tolist()
        episodes, truncations = episodes + len(ended), truncations + int(step.truncated.sum())
        if number % 3 == 0:  # now and then, so that some have to wait
            waiting = np.flatnonzero(~ours._playing).tolist()
            seeds = [1000 * number + index for index in waiting]
            obs = ours.reset(waiting, seeds)
            assert np.array_equal(obs, theirs.reset(waiting, seeds))
    assert episodes > 300
    assert truncations > 5


def test_only_the_plain_task_is_covered():
    assert CartPoleVectorEnv.covers(EnvConfig(id="CartPole-v1"))
    assert not CartPoleVectorEnv.covers(EnvConfig(id="CartPole-v0"))
    assert not CartPoleVectorEnv.covers(EnvConfig(id="CartPole-v1", kwargs={"sutton_barto_reward": True}))
