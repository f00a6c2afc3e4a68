import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from ppocli.config.load import load_config
from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Continuous, Discrete, Vector
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.errors import PpocliError, UsageError
from tests.environments import Counting

ROOT = Path(__file__).parents[2]


def make(env_id, num_envs=2, **kwargs):
    return GymnasiumVectorEnv(EnvConfig(id=env_id, kwargs=kwargs), num_envs)


def actions(*values):
    return np.array(values)


def test_only_the_named_environments_are_reset():
    envs = make("Counting-v0", 3)
    envs.reset([0, 1, 2], [10, 11, 12])
    envs.step(actions(0, 0, 0))
    obs = envs.reset([1], [21])
    assert obs.tolist() == [[1, 10], [0, 21], [1, 12]]


def test_what_has_ended_waits_untouched():
    envs = make("Counting-v0", 2, length=2)
    envs.reset([0, 1], [0, 1])
    envs.step(actions(0, 0))
    step = envs.step(actions(0, 0))
    assert step.terminated.tolist() == [True, True]
    envs.reset([1], [7])
    step = envs.step(actions(0, 0))
    assert step.obs.tolist() == [[2, 0], [1, 7]]
    assert step.rewards.tolist() == [0, 1]
    assert step.terminated.tolist() == [False, False]


def test_observations_already_handed_out_do_not_change():
    envs = make("Counting-v0")
    first = envs.reset([0, 1], [0, 1])
    second = envs.step(actions(0, 0)).obs
    envs.step(actions(0, 0))
    assert first[:, 0].tolist() == [0, 0]
    assert second[:, 0].tolist() == [1, 1]


def test_box_is_flattened_and_actions_start_where_the_space_does():
    envs = make("Shifted-v0", 1)
    assert (envs.obs_spec, envs.action_spec) == (Vector(4), Discrete(2))
    np.testing.assert_allclose(envs.reset([0], [0]), [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)
    assert envs.step(actions(1)).rewards.tolist() == [6.0]


@pytest.mark.parametrize(
    "env_id",
    ["CartPole-v1", "LunarLander-v3", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "BipedalWalker-v3", "Taxi-v4"],
)
def test_an_episode_depends_on_its_seed_and_actions_alone(env_id):
    def drawn(envs, rng):
        """The same action in every environment."""
        spec = envs.action_spec
        action = rng.uniform(-1, 1, spec.shape) if isinstance(spec, Continuous) else rng.integers(spec.num_choices)
        return np.stack([action] * envs.num_envs)

    def play(envs, index):
        rng = np.random.default_rng(0)
        seen = [envs.reset([index], [123])[index]]
        seen += [envs.step(drawn(envs, rng)).obs[index] for _ in range(60)]
        return np.array(seen)

    used, other = make(env_id, 3), np.random.default_rng(1)
    for seed in range(5, 10):
        used.reset([0, 1, 2], [seed, seed, seed])
        for _ in range(100):
            used.step(drawn(used, other))
    assert np.array_equal(play(make(env_id, 1), 0), play(used, 2))


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("LunarLander-v2", "'LunarLander-v2' is not an environment.*LunarLander-v3"),
        ("LunarLandr-v3", "Did you mean: LunarLander"),
        ("LunarLander-v9", "v9.*v3"),
        ("Nothing/Here-v0", "Namespace Nothing not found"),
        (
            "Speaking-v0",
            r"has observations Tuple.*Text.*supported are Box, Discrete, MultiDiscrete, MultiBinary, and",
        ),
        (
            "Spoken-v0",
            "has actions Sequence.*supported are Discrete, MultiDiscrete, MultiBinary and Box",
        ),
    ],
)
def test_unknown_and_unsupported_environments(env_id, message):
    with pytest.raises(UsageError, match=message):
        make(env_id)


def test_arguments_that_the_environment_does_not_take():
    with pytest.raises(UsageError, match=r"env.kwargs: LunarLander-v3 does not take \{'wings': 2\}"):
        make("LunarLander-v3", wings=2)


@pytest.mark.parametrize(
    ("env_id", "reason"),
    [("Unbuilt-v0", "package of Unbuilt is not installed"), ("Unimportable-v0", "No module named")],
)
def test_an_environment_whose_package_is_missing(env_id, reason):
    with pytest.raises(PpocliError, match=f"{env_id}: .*{reason}") as failed:
        make(env_id)
    assert failed.value.exit_code == 1


def test_kwargs_reach_the_environment():
    envs = make("Counting-v0", 1, length=1)
    envs.reset([0], [0])
    assert envs.step(actions(0)).terminated.tolist() == [True]


def test_reward_threshold():
    assert make("LunarLander-v3").reward_threshold == 200
    assert make("Counting-v0").reward_threshold is None


def test_where_it_was_is_said_of_what_an_environment_raises():
    envs = make("Broken-v0", 2, how="error")
    envs.reset([0, 1], [10, 11])
    envs.step(actions(0, 0))
    with pytest.raises(PpocliError) as failed:
        envs.step(actions(0, 0))
    place = r"\(environments\.py:\d+, in step\), in step 2 of its episode with seed 10"
    assert re.fullmatch(rf"Broken-v0: ValueError: the motor is on fire {place}", str(failed.value))
    assert 'raise ValueError("the motor is on fire")' in failed.value.frames
    assert "/ppocli/" not in failed.value.frames.replace(str(ROOT), "")
    assert "/gymnasium/" not in failed.value.frames


def test_where_it_stands_is_said_of_what_gives_something_else_than_gymnasium_asks_for(monkeypatch):
    envs = make("Counting-v0", 1)
    monkeypatch.setattr(Counting, "reset", lambda self, seed=None, options=None: np.zeros(2, np.float32))
    place = r"\(test_gymnasium\.py:\d+, <lambda>\), with seed 10; Gymnasium expects reset\(seed=…\) to return"
    with pytest.raises(PpocliError, match=place):
        envs.reset([0], [10])
    monkeypatch.undo()
    envs.reset([0], [10])
    monkeypatch.setattr(Counting, "step", lambda self, action: (np.zeros(2, np.float32), 0.0, False, {}))
    with pytest.raises(PpocliError, match=r"in step 1 of its episode with seed 10; Gymnasium expects step\(action\)"):
        envs.step(actions(0))


@pytest.fixture
def closed(monkeypatch):
    """Which environments were closed: their lengths, in the order in which it happened."""
    lengths = []
    monkeypatch.setattr(Counting, "close", lambda env: lengths.append(env.length))
    return lengths


def test_all_that_were_made_are_closed(closed):
    envs = make("Counting-v0", 3, length=4)
    envs.reset([0, 2], [0, 0])  # the second is never made
    envs.close()
    assert closed == [4, 4]


def test_what_keeps_its_world_is_made_anew_for_each_episode_and_the_old_one_closed(closed, monkeypatch):
    made = []
    original = Counting.__init__
    monkeypatch.setattr(Counting, "__init__", lambda env, *args, **kw: made.append(1) or original(env, *args, **kw))
    monkeypatch.setattr("ppocli.envs.gymnasium.KEEP_THEIR_WORLD", {"Counting"})
    envs = make("Counting-v0", 2)
    envs.reset([0, 1], [0, 1])
    before = len(made), len(closed)
    envs.reset([1], [2])
    assert (len(made), len(closed)) == (before[0] + 1, before[1] + 1)
    monkeypatch.setattr("ppocli.envs.gymnasium.KEEP_THEIR_WORLD", set())
    envs = make("Counting-v0", 2)
    envs.reset([0, 1], [0, 1])
    before = len(made), len(closed)
    envs.reset([1], [2])
    assert (len(made), len(closed)) == before


def test_a_render_mode_reaches_every_environment_and_frames_come_from_the_first():
    envs = GymnasiumVectorEnv(EnvConfig(id="CartPole-v1"), 2, "rgb_array")
    envs.reset([0, 1], [0, 1])
    assert envs.render().shape == (400, 600, 3)
    assert [env.render_mode for env in envs._envs.values()] == ["rgb_array", "rgb_array"]
    assert envs.frames_per_second == 50
    assert GymnasiumVectorEnv(EnvConfig(id="Counting-v0"), 1).frames_per_second == 30
    envs.close()


@pytest.mark.parametrize("env_id", ["LunarLander-v3", "Acrobot-v1", "Taxi-v4", "FrozenLake-v1", "Counting-v0"])
def test_gymnasiums_own_are_given_pythons_numbers_and_do_what_they_do_with_numpys(env_id):
    envs, alone = make(env_id, 1), gym.make(env_id)
    given, step = [], type(alone.unwrapped).step
    envs._envs[0].unwrapped.step = lambda action: (given.append(action), step(envs._envs[0].unwrapped, action))[1]
    envs.reset([0], [5])
    alone.reset(seed=5)
    for action in np.random.default_rng(0).integers(envs.action_spec.num_choices, size=40):
        seen, (obs, reward, terminated, *_) = envs.step(action[np.newaxis]), alone.step(action)
        np.testing.assert_array_equal(seen.obs[0, : envs.obs_spec.size], envs._flatten(obs))
        assert seen.rewards[0] == reward
        if terminated:
            break
    assert {type(action) for action in given} == {np.int64 if env_id == "Counting-v0" else int}


def test_well_known_packages_register_their_tasks_by_themselves(tmp_path, monkeypatch):
    registers = "gymnasium.register('MiniGrid-Mine-v0', Counting)"
    task = f"import gymnasium\nfrom tests.environments import Counting\n{registers}\n"
    (tmp_path / "minigrid.py").write_text(task)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert make("MiniGrid-Mine-v0").obs_spec == Vector(2)
    del gym.registry["MiniGrid-Mine-v0"]
    with pytest.raises(UsageError, match="ALE/Nothing-v5' is not an environment"):
        make("ALE/Nothing-v5")


@pytest.mark.parametrize("name", ["observation_space", "action_space"])
def test_an_environment_without_spaces_is_named(name):
    spaces = {"observation_space": gym.spaces.Box(0, 1, (2,)), "action_space": gym.spaces.Discrete(2)}
    del spaces[name]
    gym.register("Spaceless-v0", type("Spaceless", (gym.Env,), spaces))
    with pytest.raises(PpocliError, match=f"^Spaceless-v0: its {name} is None; it is to be one of gymnasium.spaces"):
        GymnasiumVectorEnv(EnvConfig(id="Spaceless-v0"), 1)
    del gym.registry["Spaceless-v0"]


def test_text_from_the_command_line_reaches_an_environment_as_mere_text():
    config = load_config("cartpole", ["env.kwargs.colors=[{sky: blue}]", "env.id=Texted-v0"]).env
    given = []
    gym.register("Texted-v0", lambda colors, **_: given.append(colors) or gym.make("CartPole-v1"))
    GymnasiumVectorEnv(config, 1)
    del gym.registry["Texted-v0"]
    assert type(given[0][0]["sky"]) is str


def test_what_the_info_says_at_the_end_is_known_of_an_episode_that_is_cut_off(monkeypatch):
    monkeypatch.setattr("ppocli.envs.gymnasium.ASSUMED_LIMIT", 2)
    envs = GymnasiumVectorEnv(EnvConfig(id="Informed-v0", info_keys=["height"]), 1)
    envs.reset([0], [0])
    envs.step(actions(0))
    step = envs.step(actions(0))
    assert (step.truncated.tolist(), step.infos.tolist()) == ([True], [[2.5]])


class Using(Counting):
    """Uses up what it was given."""

    def __init__(self, goals, render_mode=None):
        super().__init__()
        self.goal = goals.pop()


def test_an_environment_may_use_up_its_arguments():
    gym.register("Using-v0", Using)
    config = EnvConfig(id="Using-v0", kwargs={"goals": [5]})
    envs = GymnasiumVectorEnv(config, 2)
    envs.reset([0, 1], [0, 1])  # the second one is made here
    assert config.kwargs == {"goals": [5]}
    del gym.registry["Using-v0"]
