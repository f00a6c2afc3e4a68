"""The backend `envpool`, where it is installed."""

import sys

import numpy as np
import pytest

from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Continuous, Discrete, Vector
from ppocli.envs.envpool import EnvPoolVectorEnv
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import make_environments
from ppocli.errors import PpocliError, UsageError


def make(env_id, num_envs, seed=0, **kwargs):
    pytest.importorskip("envpool_assets", reason="EnvPool is an extra")
    return EnvPoolVectorEnv(EnvConfig(id=env_id, kwargs=kwargs), num_envs, seed)


def play(envs, num_steps):
    rng = np.random.default_rng(0)
    seen = [envs.reset(range(envs.num_envs), range(envs.num_envs))]
    for _ in range(num_steps):
        spec = envs.action_spec
        real = isinstance(spec, Continuous)
        step = envs.step(rng.uniform(-1, 1, (3, *spec.shape)) if real else rng.integers(spec.num_choices, size=3))
        seen += step
        ended = np.flatnonzero(step.terminated | step.truncated).tolist()
        if ended:
            seen.append(envs.reset(ended, ended))
    return seen


@pytest.mark.parametrize(
    ("env_id", "obs_size", "action_spec"),
    [
        ("LunarLander-v3", 8, Discrete(4)),
        ("CartPole-v1", 4, Discrete(2)),
        ("Pendulum-v1", 3, Continuous((True,))),
        ("BipedalWalker-v3", 24, Continuous((True,) * 4)),
        ("FrozenLake-v1", 16, Discrete(4)),
    ],
)
def test_the_same_seed_gives_the_same_episodes_and_another_gives_others(env_id, obs_size, action_spec):
    envs = make(env_id, 3)
    assert (envs.obs_spec, envs.action_spec) == (Vector(obs_size), action_spec)
    one, same, other = play(envs, 300), play(make(env_id, 3), 300), play(make(env_id, 3, seed=1), 300)
    assert all(np.array_equal(left, right) for left, right in zip(one, same, strict=True))
    assert not all(np.array_equal(left, right) for left, right in zip(one, other, strict=False))


def test_a_task_of_another_form_than_gymnasiums_is_refused():
    pytest.importorskip("envpool_assets", reason="EnvPool is an extra")
    config = Config.model_validate({"env": {"id": "Blackjack-v1", "backend": "envpool"}})
    with pytest.raises(UsageError, match="envpool has a Blackjack-v1 of another form than Gymnasium's"):
        make_environments(config)


def test_actions_mean_the_same_as_in_gymnasium():
    """Pendulum's reward is a formula of its observation and its torque: −θ² − 0.1 θ'² − 0.001 u²."""
    envs = make("Pendulum-v1", 2)
    cos, sin, speed = envs.reset([0, 1], [0, 1]).astype(float).T
    rewards = envs.step(np.array([[0.5], [-7.0]], np.float32)).rewards
    angle = np.arctan2(sin, cos)
    np.testing.assert_allclose(rewards, -(angle**2 + 0.1 * speed**2 + 0.001 * np.array([1.0, -2.0]) ** 2), rtol=1e-4)


def test_what_has_ended_waits_untouched():
    envs = make("CartPole-v1", 2)
    envs.reset([0, 1], [0, 1])
    ended_at = None
    while ended_at is None:  # always pushing to the right soon drops a pole
        step = envs.step(np.array([1, 1]))
        if step.terminated.any():
            ended_at = int(np.flatnonzero(step.terminated)[0])
    waiting = envs.step(np.array([1, 1]))
    assert np.array_equal(waiting.obs[ended_at], step.obs[ended_at])
    assert waiting.rewards[ended_at] == 0
    assert not waiting.terminated[ended_at]
    first = envs.reset([ended_at], [0])
    assert np.abs(first[ended_at]).max() <= 0.05
    assert np.array_equal(first[1 - ended_at], waiting.obs[1 - ended_at])
    assert envs.step(np.array([0, 0])).rewards[ended_at] == 1


def test_an_unknown_task_and_arguments_it_does_not_take():
    with pytest.raises(UsageError, match="EnvPool has no 'Nothing-v0'"):
        make("Nothing-v0", 1)
    with pytest.raises(UsageError, match="does not take"):
        make("LunarLander-v3", 1, wings=2)


def test_where_it_is_not_installed(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "envpool"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(PpocliError, match=r'pip install "ppocli\[envpool\]"') as failed:
        EnvPoolVectorEnv(EnvConfig(id="LunarLander-v3"), 2, 0)
    assert failed.value.exit_code == 1


PONG = EnvConfig(
    id="ALE/Pong-v5",
    backend="envpool",
    kwargs={"frameskip": 1, "repeat_action_probability": 0, "obs_type": "grayscale"},
    wrappers=({"id": "AtariPreprocessing", "noop_max": 3}, {"id": "FrameStackObservation", "stack_size": 3}),
)


def test_atari_is_seen_as_through_the_wrappers():
    pytest.importorskip("envpool_assets", reason="EnvPool is an extra")
    pytest.importorskip("ale_py", reason="so are Atari's games")
    pytest.importorskip("cv2")
    envs = EnvPoolVectorEnv(PONG, 2, seed=0)
    theirs = GymnasiumVectorEnv(PONG, 2)
    assert (envs.obs_spec, envs.action_spec) == (theirs.obs_spec, theirs.action_spec)
    shown = [one.reset([0, 1], [0, 1]) for one in (envs, theirs)]
    for _ in range(3):
        shown = [one.step(np.array([0, 0])).obs for one in (envs, theirs)]
    # The score's white digits are in the same place, as pictures are cropped, shrunk and grey alike.
    ours, pictures = (one[0].reshape(3, 84, 84).astype(int) for one in shown)
    assert abs(ours[:, :20] - pictures[:, :20]).mean() < 3


def test_atari_games_end_with_a_life_and_rewards_are_clipped_where_the_wrappers_say_so():
    pytest.importorskip("envpool_assets", reason="EnvPool is an extra")
    training = ({"id": "TerminateOnLifeLoss"}, {"id": "ClipReward", "min_reward": -1, "max_reward": 1})
    lengths, rewards = [], []
    for added in ((), training):
        config = PONG.model_copy(update={"id": "ALE/SpaceInvaders-v5", "wrappers": (*PONG.wrappers, *added)})
        envs, rng = EnvPoolVectorEnv(config, 4, seed=0), np.random.default_rng(0)
        envs.reset(range(4), range(4))
        ended, paid, length = np.zeros(4, bool), [], 0
        while not ended.all():
            step = envs.step(rng.integers(6, size=4))
            ended |= step.terminated
            paid += step.rewards.tolist()
            length += 1
        lengths.append(length)
        rewards.append(max(paid))
    assert lengths[1] < lengths[0]  # which has three lives
    assert rewards[0] >= 5
    assert rewards[1] == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"wrappers": ()}, "plays Atari with frameskip: 1, AtariPreprocessing first, and no wrapper twice"),
        ({"kwargs": {"frameskip": 4}}, "plays Atari with frameskip: 1, AtariPreprocessing first"),
        ({"wrappers": (*PONG.wrappers, {"id": "StickyAction"})}, "EnvPool has nothing like {'id': 'StickyAction'}"),
        ({"wrappers": ({"id": "AtariPreprocessing", "scale_obs": True},)}, "EnvPool has nothing like .*scale_obs"),
        ({"wrappers": ({"id": "TimeLimit", "max_episode_steps": 9}, *PONG.wrappers)}, "AtariPreprocessing first"),
        ({"wrappers": (*PONG.wrappers, PONG.wrappers[1])}, "no wrapper twice"),
        ({"wrappers": ({"id": "AtariPreprocessing", "noop_max": 0},)}, "takes no such number: .*noop_max"),
        ({"kwargs": {"frameskip": 1, "max_num_frames_per_episode": 400}}, "has no max_num_frames_per_episode"),
        ({"max_episode_steps": 400}, "env.max_episode_steps: counts skipped frames"),
        ({"wrappers": (*PONG.wrappers, {"id": "ClipReward", "max_reward": 5})}, "EnvPool has nothing like"),
    ],
)
def test_what_envpools_atari_has_not_is_refused(changed, said):
    pytest.importorskip("envpool_assets", reason="EnvPool is an extra")
    with pytest.raises(UsageError, match=said):
        EnvPoolVectorEnv(PONG.model_copy(update=changed), 1, seed=0)


def test_atari_does_what_gymnasiums_would_where_the_config_says_nothing():
    pytest.importorskip("envpool_assets", reason="EnvPool is an extra")
    plain = PONG.model_copy(update={"kwargs": {"frameskip": 1}, "wrappers": ({"id": "AtariPreprocessing"},)})
    settings = EnvPoolVectorEnv(plain, 1, seed=0)._envs.spec.config
    assert (settings.stack_num, settings.repeat_action_probability, settings.noop_max) == (1, 0.25, 30)
    assert (settings.use_fire_reset, settings.episodic_life, settings.reward_clip) == (False, False, False)
    limited = plain.model_copy(update={"wrappers": (*plain.wrappers, {"id": "TimeLimit", "max_episode_steps": 7})})
    envs = EnvPoolVectorEnv(limited, 1, seed=0)
    envs.reset([0], [0])
    assert [bool(envs.step(np.zeros(1, int)).truncated[0]) for _ in range(7)] == [False] * 6 + [True]
