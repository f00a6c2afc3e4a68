import numpy as np
import pytest

from ppocli.evaluation.estimates import interval, iqm, mean


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end():
    assert iqm(np.array([8.0, -100.0, 2.0, 4.0, 6.0, 1000.0, 3.0, 5.0])) == pytest.approx((3 + 4 + 5 + 6) / 4)
    # of five it leaves out one at each end, and every column is a sample of its own
    np.testing.assert_allclose(iqm(np.array([[0.0, 9.0], [1, 1], [2, 2], [3, 3], [50, -7]])), [2.0, 2.0])


def test_the_interval_is_the_percentile_bootstraps():
    samples = np.random.default_rng(1).normal(size=(40, 2)) * [1.0, 10.0] + [0.0, 5.0]
    low, high = interval(samples, mean)
    # for a mean it comes near to ± 1.96 standard errors, whose size is known
    errors = samples.std(axis=0) / np.sqrt(40)
    np.testing.assert_allclose(low, samples.mean(axis=0) - 1.96 * errors, atol=0.05 * errors.max())
    np.testing.assert_allclose(high, samples.mean(axis=0) + 1.96 * errors, atol=0.05 * errors.max())
    again = interval(samples, mean)
    np.testing.assert_array_equal([low, high], again)


def test_what_is_always_the_same_has_an_interval_without_width():
    assert interval(np.full(5, 500.0), iqm) == (500.0, 500.0)


def test_a_single_sample_has_no_interval():
    assert interval(np.array([3.0]), mean) is None
