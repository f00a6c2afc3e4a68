"""Running statistics against NumPy over all the data at once."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.normalize import ObsNormalizer, RewardNormalizer, RunningStatistics
from ppocli.config.models import Config
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Discrete, Vector
from ppocli.records import checkpoint
from tests.jobs import trained

DATA = np.random.default_rng(0).normal([0, 1e4, -3], [1, 0.5, 100], size=(600, 3))


@pytest.mark.parametrize("cuts", [[], [1], [300], [1, 2, 3, 599], list(range(1, 600))])
def test_statistics_are_numpys_in_any_split(cuts):
    statistics = RunningStatistics(3)
    for part in np.split(DATA, cuts):
        statistics.add(torch.from_numpy(part))
    np.testing.assert_allclose(statistics.mean, DATA.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(statistics.var, DATA.var(0), rtol=1e-9)
    assert statistics.count == 600


def test_rollouts_are_added_whole():
    statistics = RunningStatistics(3)
    statistics.add(torch.from_numpy(DATA.reshape(20, 30, 3).astype(np.float32)))
    np.testing.assert_allclose(statistics.mean, DATA.astype(np.float32).mean(0, dtype=np.float64), rtol=1e-9)


def test_small_differences_of_large_numbers_are_not_lost():
    """In float32 they would be: 1e4 has a spacing of 1e-3 there, and sums of squares are far worse."""
    statistics = RunningStatistics(1)
    for part in np.split(1e8 + DATA[:, :1], 6):
        statistics.add(torch.from_numpy(part))
    np.testing.assert_allclose(statistics.var, (1e8 + DATA[:, :1]).var(0), rtol=1e-6)


def test_nothing_seen_changes_nothing_but_the_limit():
    obs = torch.tensor([[0.5, -3.0, 11.0]])
    torch.testing.assert_close(ObsNormalizer(Vector(3))(obs), torch.tensor([[0.5, -3.0, 10.0]]))


def test_observations_by_hand():
    normalizer = ObsNormalizer(Vector(2))
    normalizer.learn(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))  # means 2 and 5, standard deviations 1 and 0
    seen = normalizer(torch.tensor([[2.0, 5.0], [2.5, 6.0], [-20.0, 4.0]]))
    assert seen.dtype == torch.float32
    assert seen.tolist() == [[0.0, 0.0], [0.5, 1.0], [-10.0, -1.0]]  # what does not vary is only shifted


def test_a_single_observation_is_only_shifted():
    normalizer = ObsNormalizer(Vector(2))
    normalizer.learn(torch.tensor([[3000.0, -2.0]]))
    assert normalizer(torch.tensor([[3000.0, -2.0], [3001.0, -2.5]])).tolist() == [[0.0, 0.0], [1.0, -0.5]]


def test_the_rounding_of_a_constant_is_no_spread():
    """What is computed anew in each step may come out as either of two neighbours in float32."""
    normalizer, low = ObsNormalizer(Vector(1)), np.float32(7003.3)
    neighbours = np.array([[low], [np.nextafter(low, np.float32(np.inf))]])
    normalizer.learn(torch.from_numpy(np.repeat(neighbours, 1000, axis=0)))
    assert normalizer.statistics.var > 0
    assert normalizer(torch.from_numpy(neighbours)).abs().max() < 1e-3
    assert normalizer(torch.full((1, 1), 7004.3)).item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_units_do_not_matter(unit):
    normalizer, data = ObsNormalizer(Vector(3)), torch.from_numpy(DATA - DATA.mean(0) + 7).float()
    normalizer.learn(data * unit)
    expected = (data - data.mean(0)) / data.std(0, correction=0)
    torch.testing.assert_close(normalizer(data * unit), expected.clamp(-10, 10))


FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(arrays(np.float32, (3, 2), elements=FLOAT32), arrays(np.float32, (1, 2), elements=FLOAT32))
@example(np.zeros((3, 2), np.float32), np.full((1, 2), 1e-45, np.float32))
@example(np.full((3, 2), 1e-45, np.float32), np.zeros((1, 2), np.float32))
@example(np.array([[-3e38, 0], [3e38, 1e-45], [3e38, 0]], np.float32), np.full((1, 2), -3e38, np.float32))
def test_whatever_is_observed_is_seen_as_finite(known, obs):
    normalizer = ObsNormalizer(Vector(2))
    normalizer.learn(torch.from_numpy(known))
    for seen in (normalizer(torch.from_numpy(known)), normalizer(torch.from_numpy(obs))):
        assert (seen.abs() <= 10).all()  # which NaN is not


def make_agent(*, normalize_obs):
    network = NetworkConfig(normalize_obs=normalize_obs)
    return Agent(Vector(2), Discrete(2), network, torch.Generator().manual_seed(0))


def test_the_agent_sees_through_its_statistics_and_only_learn_obs_moves_them():
    agent, plain = make_agent(normalize_obs=True), make_agent(normalize_obs=False)
    agent.learn_obs(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    before = {name: tensor.clone() for name, tensor in agent.state_dict().items()}
    obs, as_seen = torch.tensor([[3.0, 20.0]]), torch.tensor([[1.0, 0.0]])
    actions, noise = torch.tensor([1]), torch.zeros(1, 2)
    torch.testing.assert_close(agent.value(obs), plain.value(as_seen))
    torch.testing.assert_close(agent.log_prob_and_entropy(obs, actions), plain.log_prob_and_entropy(as_seen, actions))
    assert agent.mode(obs)[0].equal(plain.mode(as_seen)[0])
    assert agent.sample(obs, noise)[0].equal(plain.sample(as_seen, noise)[0])
    assert all(torch.equal(tensor, before[name]) for name, tensor in agent.state_dict().items())
    assert "normalizer.statistics.mean" in before


def test_statistics_that_are_loaded_are_seen_through():
    agent, other = make_agent(normalize_obs=True), make_agent(normalize_obs=True)
    agent.learn_obs(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    obs = torch.tensor([[3.0, 20.0]])
    for assign in (False, True):
        other.learn_obs(torch.tensor([[7.0, 7.0], [8.0, 9.0]]))
        other.load_state_dict(agent.state_dict(), assign=assign)
        assert other.seen(obs).tolist() == [[1.0, 0.0]]
    assert not [name for name in agent.state_dict() if name in ("normalizer.mean", "normalizer.std")]


def test_without_normalisation_there_is_nothing_to_save():
    agent = make_agent(normalize_obs=False)
    agent.learn_obs(torch.ones(3, 2))
    assert not [name for name in agent.state_dict() if "normalizer" in name]


def test_training_learns_what_was_acted_on_and_not_what_it_led_to(tmp_path):
    """`Counting` shows 0, 1, 2 before its actions, and 1, 2, 3 after them."""
    config = Config.model_validate(
        {
            "env": {"id": "Counting-v0", "num_envs": 2, "workers": 0},
            "network": {"hidden_sizes": [4], "normalize_obs": True},
            "rollout": {"horizon": 6},
            "update": {"minibatch_size": 12},
            "train": {"env_steps": 24, "eval_episodes": 1},
        }
    )
    run, _ = trained(config, tmp_path / "run")
    agent = checkpoint.load(run.checkpoint("last")).part("agent")
    assert agent["normalizer.statistics.count"] == 24
    assert agent["normalizer.statistics.mean"][0] == pytest.approx(1)
    assert agent["normalizer.statistics.var"][0] == pytest.approx(2 / 3)


def test_discounted_returns_by_hand():
    """Two environments, γ = ½; the first ends after its second step, the second never."""
    rewards = RewardNormalizer(2, 0.5)
    rewards.add(np.array([[1, 2], [1, 2]], np.float32), np.array([[False, False], [True, False]]))
    rewards.add(np.array([[4, 0]], np.float32), np.array([[False, False]]))
    history = [1, 1.5, 4, 2, 3, 1.5]
    assert rewards.statistics.var == pytest.approx(np.var(history))
    assert rewards.scale == pytest.approx(1 / np.std(history))
    assert rewards.returns.tolist() == [4, 1.5]


def test_before_any_reward_the_scale_is_1():
    assert RewardNormalizer(3, 0.9).scale == 1


def test_rewards_that_are_all_zero_leave_the_scale_at_1():
    rewards = RewardNormalizer(2, 0.99)
    rewards.add(np.zeros((5, 2), np.float32), np.zeros((5, 2), bool))
    assert rewards.scale == 1


def test_one_step_of_one_environment_has_no_spread():
    rewards = RewardNormalizer(1, 0.99)
    rewards.add(np.array([[1000.0]], np.float32), np.array([[True]]))
    assert rewards.scale == 1


def test_after_the_first_episode_the_scale_is_right():
    """One environment, γ = ½, rewards 1, 1 and 2: returns so far of 1, 1.5 and 2.75, and then from 0 on."""
    rewards = RewardNormalizer(1, 0.5)
    rewards.add(np.array([[1], [1], [2]], np.float32), np.array([[False], [False], [True]]))
    assert rewards.scale == pytest.approx(1 / np.std([1, 1.5, 2.75]))
    assert rewards.returns.tolist() == [0]


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_units_of_rewards_do_not_matter(unit):
    plain, other = RewardNormalizer(2, 0.9), RewardNormalizer(2, 0.9)
    drawn = np.random.default_rng(3).normal(1, 2, (50, 2))
    plain.add(drawn, np.zeros((50, 2), bool))
    other.add(drawn * unit, np.zeros((50, 2), bool))
    assert other.scale * unit == pytest.approx(plain.scale)


@given(arrays(np.float32, (4, 2), elements=FLOAT32), arrays(np.bool_, (4, 2)))
@example(np.full((4, 2), 1e-45, np.float32), np.ones((4, 2), bool))
@example(np.full((4, 2), 3e38, np.float32), np.zeros((4, 2), bool))
@example(np.array([[3e38, -3e38]] * 4, np.float32), np.zeros((4, 2), bool))
def test_whatever_rewards_are_they_stay_finite(rewards, ended):
    normalizer = RewardNormalizer(2, 1.0)
    normalizer.add(rewards, ended)
    assert np.isfinite(rewards * np.float32(normalizer.scale)).all()


def test_the_split_into_rollouts_does_not_matter():
    rng = np.random.default_rng(1)
    rewards, ended = rng.normal(3, 2, (60, 4)).astype(np.float32), rng.random((60, 4)) < 0.1
    whole, parts = RewardNormalizer(4, 0.99), RewardNormalizer(4, 0.99)
    whole.add(rewards, ended)
    for part in range(6):
        parts.add(rewards[10 * part : 10 * part + 10], ended[10 * part : 10 * part + 10])
    assert parts.scale == pytest.approx(whole.scale, rel=1e-12)


def test_state_goes_on_where_it_stood():
    rng = np.random.default_rng(2)
    one, other = RewardNormalizer(4, 0.99), RewardNormalizer(4, 0.99)
    one.add(rng.normal(size=(10, 4)).astype(np.float32), np.zeros((10, 4), bool))
    for name, tensor in one.state_dict().items():
        other.state_dict()[name].copy_(tensor)
    for rewards in (one, other):
        rewards.add(np.ones((5, 4), np.float32), np.zeros((5, 4), bool))
    assert one.scale == other.scale
    assert one.returns.tolist() == other.returns.tolist()
