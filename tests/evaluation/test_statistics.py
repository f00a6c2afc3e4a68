"""What the episodes of an evaluation amount to, against worked arithmetic."""

from dataclasses import replace

import numpy as np
import pytest

from ppocli.config.models import Config
from ppocli.envs.episodes import Episode
from ppocli.envs.make import evaluation_envs
from ppocli.evaluation.statistics import greedy_shortfall, statistics, target_return


def episode(episode_return, length=10, truncated=False):
    return Episode(0, 0, episode_return, length, not truncated, truncated, 0)


def summarize(episodes, target=None):
    return statistics("CartPole-v1", episodes, target, seed=0, deterministic=True)


def test_statistics_by_hand():
    returns = [1, 2, 3, 4, 5, 6, 7, 100]
    summary = summarize([episode(value, length=value, truncated=value < 3) for value in returns], target=6)
    assert summary.return_mean == 16
    assert summary.return_std == pytest.approx(np.sqrt((225 + 196 + 169 + 144 + 121 + 100 + 81 + 7056) / 8))
    assert summary.return_median == 4.5
    assert summary.return_iqm == (3 + 4 + 5 + 6) / 4
    assert (summary.return_min, summary.return_max, summary.length_mean) == (1, 100, 16)
    assert (summary.solved_fraction, summary.terminated_fraction, summary.truncated_fraction) == (3 / 8, 0.75, 0.25)


def test_infos_are_averaged_over_the_episodes_that_have_them():
    infos = [{"is_success": 1.0, "height": 2.0}, {"is_success": 0.0}, {"is_success": 0.0, "height": 5.0}, {}]
    summary = summarize([replace(episode(1.0), info=info) for info in infos])
    assert summary.info_means == {"is_success": 1 / 3, "height": 3.5}
    assert summarize([episode(1.0)]).info_means == {}


def test_interval_is_a_percentile_bootstrap_of_the_iqm():
    returns = np.random.default_rng(1).normal(100, 20, 100)
    low, high = summarize([episode(value) for value in returns], None).return_iqm_ci95
    rng = np.random.default_rng(2)
    middles = np.sort(rng.choice(returns, (20_000, 100)), axis=1)[:, 25:75].mean(1)
    assert (low, high) == pytest.approx(np.percentile(middles, [2.5, 97.5]), abs=0.3)
    assert summarize([episode(value) for value in returns], None).return_iqm_ci95 == (low, high)


def test_edges_of_the_statistics():
    assert summarize([episode(3.0)], 5).return_iqm_ci95 is None
    assert summarize([episode(3.0)], None).solved_fraction is None
    same = summarize([episode(500.0)] * 100, 500)
    assert same.return_iqm_ci95 == (500, 500)
    assert same.solved_fraction == 1


def test_what_was_evaluated_is_said_too():
    summary = statistics("Counting-v0", [episode(1.0), episode(2.0)], 7.5, seed=4, deterministic=False)
    assert (summary.env_id, summary.episodes, summary.seed) == ("Counting-v0", 2, 4)
    assert (summary.deterministic, summary.target_return) == (False, 7.5)


@pytest.mark.parametrize(
    ("env_id", "train", "expected"),
    [
        ("CartPole-v1", {}, 475),
        ("CartPole-v1", {"target_return": 0}, 0),
        ("LunarLander-v3", {}, 200),
        ("Counting-v0", {}, None),
        ("Counting-v0", {"target_return": -3.5}, -3.5),
    ],
)
def test_the_target_is_the_configs_or_else_the_environments_own(env_id, train, expected):
    config = Config.model_validate({"env": {"id": env_id, "workers": 0}, "train": train})
    assert target_return(config, evaluation_envs(config.env)) == expected


def test_how_far_greedy_play_falls_short_by_hand():
    """Each sample of 10 has the variance 10/9 · spread², so that the gap's standard error is spread · √(2 / 9)."""

    def around(center, spread):
        return [center - spread, center + spread] * 5

    # spread 9: the error is 4.243, and 5 % of the 100 that training has gained are 5; so the limit is 13.485
    assert greedy_shortfall(around(86.0, 9.0), around(100.0, 9.0), 0.0) == 14.0
    assert greedy_shortfall(around(87.0, 9.0), around(100.0, 9.0), 0.0) is None
    # nothing gained: twice the error, 8.485, is the limit by itself
    assert greedy_shortfall(around(-109.0, 9.0), around(-100.0, 9.0), 50.0) == 9.0
    assert greedy_shortfall(around(-108.0, 9.0), around(-100.0, 9.0), 50.0) is None
    # no spread: 5 % of what was gained is the limit
    assert greedy_shortfall([94.0] * 10, [100.0] * 10, 0.0) == 6.0
    assert greedy_shortfall([96.0] * 10, [100.0] * 10, 0.0) is None
    assert greedy_shortfall([200.0] * 10, [100.0] * 10, 0.0) is None  # it does better, as it should


def test_of_few_episodes_no_shortfall_is_clear():
    assert greedy_shortfall([0.0] * 9, [100.0] * 100, 0.0) is None
    assert greedy_shortfall([0.0] * 100, [], 0.0) is None
