"""Environments that say which actions are allowed, and those that say it wrongly."""

import gymnasium as gym
import numpy as np
import pytest

from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Continuous, Discrete, MultiDiscrete, Vector
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.masks import draw, reader
from ppocli.errors import PpocliError
from ppocli.evaluation.play import evaluate, random
from ppocli.guests import UnexpectedError
from tests.environments import Counting


def make(how, num_envs=1, **config):
    return GymnasiumVectorEnv(EnvConfig(id="Gated-v0", kwargs={"how": how}, **config), num_envs)


@pytest.mark.parametrize("how", ["info", "method"])
def test_an_observation_ends_with_what_is_allowed(how):
    envs = make(how, 2)
    assert envs.obs_spec == Vector(2, num_masked=4)
    assert envs.reset([0, 1], [0, 5]).tolist() == [[0, 0, 0, 1, 1, 1], [0, 5, 1, 0, 1, 1]]
    assert envs.step(np.array([1, 0])).obs.tolist() == [[1, 0, 1, 0, 1, 1], [1, 5, 1, 1, 0, 1]]


def test_the_masks_of_several_choices_stand_one_after_the_other():
    envs = make("parts")
    assert envs.obs_spec == Vector(2, num_masked=5)
    assert envs.reset([0], [4]).tolist() == [[0, 4, 0, 1, 1, 0, 1]]


def test_taxi_says_what_its_own_mask_says():
    envs = GymnasiumVectorEnv(EnvConfig(id="Taxi-v4"), 1)
    _, info = gym.make("Taxi-v4").reset(seed=3)
    assert envs.reset([0], [3])[0, 500:].tolist() == info["action_mask"].tolist()


@pytest.mark.parametrize("how", ["silent", "over"])
def test_what_has_ended_is_not_asked(how):
    envs = GymnasiumVectorEnv(EnvConfig(id="Gated-v0", kwargs={"how": how, "length": 1}), 1)
    envs.reset([0], [0])
    assert envs.step(np.array([1])).obs.tolist() == [[1, 0, 1, 1, 1, 1]]


@pytest.mark.parametrize("how", ["info", "parts"])
def test_chance_plays_what_is_allowed_alone_and_all_of_it(how):
    envs = make(how, 3)
    policy = random(envs.action_spec, envs.obs_spec)
    episodes = evaluate(envs, policy, range(30))  # an environment asserts that no action was forbidden
    assert [episode.episode_length for episode in episodes] == [20] * 30
    obs = envs.reset([0, 1, 2], [0, 1, 2])
    generators = [np.random.default_rng(seed) for seed in range(3)]
    drawn = [policy(obs, None, generators)[0] for _ in range(200)]
    by_part = np.array(drawn).reshape(200, 3, -1)
    counts = [len(np.unique(by_part[:, row, part])) for row in range(3) for part in range(by_part.shape[2])]
    assert counts == ([3, 3, 3] if how == "info" else [1, 2] * 3)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("nothing", r"allows nothing, though the episode goes on.*, in step 2 of its episode with seed 7"),
        ("short", r"is an array \(3,\) of int8, and no 0 or 1 for each of 4 choices.*, with seed 7"),
        ("half", r"is an array \(4,\) of float64, and no 0 or 1 for each of 4 choices.*, with seed 7"),
        ("silent", r"is None, and no 0 or 1 for each of 4 choices.*, in step 1 of its episode with seed 7"),
    ],
)
def test_a_wrong_mask_is_an_error_that_names_its_step(how, said):
    envs = make(how)
    policy = random(envs.action_spec, envs.obs_spec)
    with pytest.raises(PpocliError, match=f"Gated-v0: its action mask {said}"):
        evaluate(envs, policy, [7])


def test_to_look_for_a_mask_is_the_same_each_time():
    """What keeps something over a reset would otherwise differ from run to run."""
    taken = []

    class Watched(Counting):
        def step(self, action):
            taken.append(int(action))
            return super().step(action)

    gym.register("Watched-v0", Watched)
    for _ in range(5):
        GymnasiumVectorEnv(EnvConfig(id="Watched-v0"), 1)
    del gym.registry["Watched-v0"]
    assert taken == [0] * 5


def test_a_config_may_leave_masks_out():
    assert make("info", action_masks=False).obs_spec == Vector(2)


@pytest.mark.parametrize(
    ("spec", "given", "said"),
    [
        (MultiDiscrete((2, 3)), [0, 0, 1, 1, 1], "allows nothing"),  # of one choice; of the other it does
        (MultiDiscrete((2, 3)), ([1, 1], [0, 0, 0]), "allows nothing"),
        (Discrete(3), [1, 1, 1, 1], "no 0 or 1 for each of 3 choices"),
    ],
)
def test_a_mask_allows_something_of_each_choice_and_is_no_longer_than_they_are(spec, given, said):
    with pytest.raises(UnexpectedError, match=said):
        reader(spec)(given)


def test_an_attribute_of_that_name_that_is_no_method_says_nothing():
    gym.register("Unasked-v0", type("Unasked", (Counting,), {"action_masks": None}))
    assert GymnasiumVectorEnv(EnvConfig(id="Unasked-v0"), 1).obs_spec == Vector(2)
    del gym.registry["Unasked-v0"]


def test_an_episode_that_is_cut_off_is_not_asked(monkeypatch):
    monkeypatch.setattr("ppocli.envs.gymnasium.ASSUMED_LIMIT", 1)
    envs = make("silent")
    envs.reset([0], [0])
    assert envs.step(np.array([1])).obs.tolist() == [[1, 0, 1, 1, 1, 1]]


def test_real_numbers_are_drawn_within_their_bounds_and_without_them_as_a_new_policy_draws():
    rng, nothing = np.random.default_rng(0), np.zeros(0)
    drawn = np.array([draw(Continuous((True, False)), nothing, rng) for _ in range(2000)])
    np.testing.assert_allclose(drawn.std(0), [np.sqrt(1 / 3), 1], rtol=0.1)
    assert np.abs(drawn[:, 0]).max() <= 1
