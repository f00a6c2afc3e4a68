"""The rules of the task. Whoever changes a rule changes its test; the first two and the last hold for any task."""

import math
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import my_task  # noqa: F401 - registers it

AHEAD, LEFT, NOTHING = np.array([1, 0], np.float32), np.array([0, 1], np.float32), np.zeros(2, np.float32)


@pytest.fixture
def env():
    with gym.make("MyTask-v0", render_mode="rgb_array") as env:
        yield env


def episode(env, seed):
    """Play an episode at random; return everything that was observed and earned."""
    env.action_space.seed(seed)
    obs, _ = env.reset(seed=seed)
    seen, over = [obs], False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        seen += [obs, reward]
        over = terminated or truncated
    return seen


def placed(env, x, y, heading=0.0):
    """Put the boat somewhere, at rest."""
    env.reset(seed=0)
    boat = env.unwrapped
    boat.x, boat.y, boat.heading = x, y, heading
    return boat


def test_the_seed_and_the_actions_make_the_episode(env):
    first, again, other = (np.hstack(episode(env, seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:5], other[:5])


def test_observations_stay_in_their_space(env):
    for seed in range(20):
        for obs in episode(env, seed)[1::2]:
            assert obs in env.observation_space


def test_the_boat_sees_the_buoy_from_where_it_is(env):
    boat = placed(env, -0.5, 0.2)
    assert boat._obs() == pytest.approx([0.5, -0.2, 0, 0, 0])
    boat = placed(env, -0.5, 0.2, heading=-math.pi / 2)
    assert boat._obs() == pytest.approx([0.2, 0.5, 0, 0, 0])


def test_it_glides_on(env):
    boat = placed(env, -0.5, 0)
    env.step(AHEAD)
    speed = boat.velocity_x
    env.step(NOTHING)
    assert 0.9 * speed < boat.velocity_x < speed
    assert boat.x > -0.5


def test_the_rudder_turns_it(env):
    boat = placed(env, -0.5, 0)
    env.step(LEFT)
    assert boat.heading > 0


def test_coming_nearer_is_rewarded(env):
    boat = placed(env, -0.5, 0)
    _, reward, *ends, _ = env.step(AHEAD)
    assert reward == pytest.approx(100 * (0.5 + boat.x))
    assert reward > 0
    assert ends == [False, False]


@pytest.mark.parametrize(("speed", "moored"), [(0.2, True), (0.8, False)])
def test_it_is_moored_where_it_is_near_and_slow(env, speed, moored):
    boat = placed(env, -0.1, 0)
    boat.velocity_x = speed
    _, reward, terminated, _, info = env.step(NOTHING)
    assert terminated == info["is_success"] == moored
    assert (reward > 100) == moored


def test_it_runs_aground(env):
    boat = placed(env, 0.99, 0)
    boat.velocity_x = 0.5
    _, reward, terminated, _, info = env.step(NOTHING)
    assert terminated
    assert reward < -100
    assert not info["is_success"]


def test_the_time_limit_truncates(env):
    placed(env, -0.5, 0)
    ends = [env.step(NOTHING)[2:4] for _ in range(env.spec.max_episode_steps)]
    assert ends[-2:] == [(False, False), (False, True)]


def test_the_picture_shows_the_boat(env):
    placed(env, -0.5, 0)
    before = env.render()
    placed(env, 0.5, 0)
    after = env.render()
    assert before.dtype == np.uint8
    changed = (before != after).any(axis=(0, 2)).nonzero()[0]  # columns
    assert changed.min() < len(before) / 2 < changed.max()


def test_ppocli_finds_nothing_wrong():
    command = [sys.executable, "-m", "ppocli", "check-env", "MyTask-v0", "--import", "my_task"]
    assert subprocess.run(command, cwd=Path(__file__).parents[1]).returncode == 0
