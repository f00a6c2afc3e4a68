import math

import numpy as np
import pytest
from scipy import stats

from ppocli.evaluation.estimates import IQM_TRIM, censored_median, iqm, iqm_interval, may_average, t_interval


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end():
    assert iqm(np.array([8.0, -100.0, 2.0, 4.0, 6.0, 1000.0, 3.0, 5.0])) == pytest.approx((3 + 4 + 5 + 6) / 4)
    # of five it leaves out one at each end, and every column is a sample of its own
    np.testing.assert_allclose(iqm(np.array([[0.0, 9.0], [1, 1], [2, 2], [3, 3], [50, -7]])), [2.0, 2.0])


def test_few_samples_have_students_interval():
    # mean 2, deviation 1, error 1/√3; 4.3027 is t's quantile for two degrees of freedom, from a printed table
    assert t_interval(np.array([1.0, 3.0, 2.0])) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    # the five seeds of docs/watching.md: mean 256.56, squares about it sum to 610.35, t 2.7764
    assert t_interval(np.array([241.1, 263.7, 255.0, 249.9, 273.1])) == pytest.approx((241.22, 271.90), abs=0.01)
    # every column is a sample of its own
    columns = np.random.default_rng(1).normal(size=(4, 3))
    np.testing.assert_allclose(
        t_interval(columns), stats.t.interval(0.95, 3, columns.mean(axis=0), stats.sem(columns, axis=0))
    )


def test_the_interquartile_mean_of_few_samples_has_yuens_interval():
    # winsorised they are 2, 2, 3, 4, 4, whose squares about their mean sum to 4; the error is √(4 / (3 · 2))
    margin = 4.3027 * (4 / 6) ** 0.5
    expected = (3 - margin, 3 + margin)
    assert t_interval(np.array([90.0, 1.0, 4.0, 2.0, 3.0]), IQM_TRIM) == pytest.approx(expected, abs=1e-4)
    # of three nothing is left out, so that it is the mean's
    three = np.array([1.0, 7.0, 2.5])
    assert t_interval(three, IQM_TRIM) == t_interval(three)


def test_many_samples_have_a_percentile_bootstrap():
    samples = np.random.default_rng(1).normal(5, 10, size=100)
    low, high = iqm_interval(samples)
    middles = np.sort(np.random.default_rng(2).choice(samples, (20_000, 100)), axis=1)[:, 25:75].mean(axis=1)
    assert (low, high) == pytest.approx(np.percentile(middles, [2.5, 97.5]), abs=0.15)
    assert iqm_interval(samples) == (low, high)


def test_from_thirty_samples_on_there_are_many():
    samples = np.random.default_rng(3).exponential(size=30)
    assert iqm_interval(samples[:29]) == t_interval(samples[:29], IQM_TRIM)
    assert iqm_interval(samples) != t_interval(samples, IQM_TRIM)


@pytest.mark.parametrize("count", [2, 5, 100])
def test_what_is_always_the_same_has_an_interval_without_width(count):
    assert t_interval(np.full(count, 500.0)) == iqm_interval(np.full(count, 500.0)) == (500.0, 500.0)


def test_a_single_sample_has_no_interval():
    assert t_interval(np.array([3.0])) is t_interval(np.array([3.0]), IQM_TRIM) is iqm_interval(np.array([3.0])) is None


MEANS = {"normal": 0.0, "exponential": 1.0, "lognormal": np.exp(0.5)}
# The middle half of exponential samples: 2 (u − u log u) from 1/4 to 3/4.
MIDDLES = {"normal": 0.0, "exponential": 2 * ((0.75 - 0.75 * np.log(0.75)) - (0.25 - 0.25 * np.log(0.25)))}


def covers(name, count, truth, trim):
    samples = getattr(np.random.default_rng(count), "standard_normal" if name == "normal" else name)(
        size=(count, 40_000)
    )
    low, high = t_interval(samples, trim)
    return np.mean((low <= truth) & (truth <= high))


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_an_interval_over_seeds_covers_the_truth_as_often_as_it_says(count):
    """By simulation, 40,000 times each, so that an error of 0.1 % is left; docs/numbers.md has the whole table."""
    assert 0.945 < covers("normal", count, 0.0, 0.0) < 0.955
    assert 0.93 < covers("normal", count, 0.0, IQM_TRIM) < 0.955
    # Of skewed samples it promises too much, but far less so than a bootstrap, which covers 41 % to 88 %.
    assert 0.87 < covers("exponential", count, MEANS["exponential"], 0.0) < 0.95
    assert 0.81 < covers("lognormal", count, MEANS["lognormal"], 0.0) < 0.95
    assert 0.91 < covers("exponential", count, MIDDLES["exponential"], IQM_TRIM) < 0.95


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([3.0, None, 1.0, None, 2.0], 3.0),  # 1, 2, 3 and two that are longer
        ([3.0, None, 1.0, 2.0], 2.5),
        ([1.0, None, 2.0, None], None),  # half of them are longer than any
        ([None], None),
        ([0.0], 0.0),
    ],
)
def test_what_did_not_happen_is_longer_than_all_that_did(times, expected):
    assert censored_median(times) == expected


def test_whether_samples_may_still_average_a_target():
    # 20 that average 150 with a standard deviation of 60: the other 80 would have to average 212.5, 62.5 more, and
    # the standard error of that difference is 60 · √(1/20 + 1/80) = 15
    samples = [150.0 - 60 * math.sqrt(19 / 20), 150.0 + 60 * math.sqrt(19 / 20)] * 10
    assert np.std(samples, ddof=1) == pytest.approx(60)
    assert not may_average(200, samples, 100)
    assert may_average(161.9, samples, 100)  # 164.875 of the others: 0.99 standard errors
    assert not may_average(162.1, samples, 100)  # 165.125: 1.01
    assert may_average(150, [150.0] * 20, 100)
    assert may_average(0.95, [0.95] * 20, 100)  # which no float is: sums of it are rounded
    assert not may_average(150.1, [150.0] * 20, 100)
    assert may_average(-1000, samples, 100)
