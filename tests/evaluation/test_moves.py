"""What updates did to a policy, from rows and episodes made by hand."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from ppocli.evaluation.moves import kl_of_updates, made_worse, running_geometric_mean, share_made_worse
from tests.evaluation.test_curves import episode, run_with
from tests.records.runs import columns_of, metrics

BATCH = 100


def rows_of(count, kl=0.01):
    return [metrics(iteration=number + 1, env_steps=BATCH * (number + 1), kl=kl) for number in range(count)]


def episodes_of(*returns):
    """Episodes of each iteration; the first of it ends in its first step, the last in its last."""
    ends = [(np.linspace(1, BATCH, len(own)).astype(int) + BATCH * number, own) for number, own in enumerate(returns)]
    pairs = [(int(end), value) for places, own in ends for end, value in zip(places, own, strict=True)]
    return [episode(number + 1, end, 0.0, float(value)) for number, (end, value) in enumerate(pairs)]


def test_updates_that_did_not_move_the_policy_have_no_kl():
    rows = [metrics(env_steps=env_steps, kl=kl) for env_steps, kl in ((1, 0.1), (2, 0.0), (3, None), (4, 0.2))]
    env_steps, kl = kl_of_updates(rows)
    assert (env_steps.tolist(), kl.tolist()) == ([1, 4], [0.1, 0.2])
    assert [part.size for part in kl_of_updates([])] == [0, 0]


def test_the_running_mean_is_geometric_and_at_most_ten_long():
    values = np.array([1.0, 100.0, 10.0] + [1e-3] * 10)
    found = running_geometric_mean(values)
    np.testing.assert_allclose(found[:4], [1, 10, 10, 1])
    assert found[-1] == pytest.approx(1e-3)
    assert running_geometric_mean(np.array([])).size == 0


def test_a_policy_is_worse_where_its_next_episodes_return_less_than_chance_tells():
    noise = np.array([-1.0, 1.0, 0.5, -0.5, 0.0, 2.0])
    returns = [10 + noise, 10 + noise[::-1], 5 + noise, 30 + 8 * noise, 29 + 8 * noise[:5]]
    found = made_worse(rows_of(5), episodes_of(*returns))
    expected = [
        stats.ttest_ind(later, before, equal_var=False, alternative="less").pvalue < 0.05
        for before, later in pairwise(returns)
    ]
    assert found.tolist() == expected == [False, True, False, False]


def test_five_episodes_on_both_sides_are_needed_and_equal_ones_need_no_test():
    six, few = [0.7] * 6, [0.1] * 4
    assert made_worse(rows_of(5), episodes_of(six, six[:5], [0.6] * 5, [0.9] * 11, few)).tolist() == [
        False,
        True,
        False,
    ]
    assert made_worse(rows_of(2), episodes_of([], [])).size == 0
    assert made_worse([], []).size == 0


def test_shares_are_of_the_runs_that_have_any(tmp_path):
    runs = []
    worse_once, never, empty = [[1] * 5, [0] * 5, [0] * 5], [[1] * 5] * 3, [[]] * 3
    for number, returns in enumerate((worse_once, never, empty)):
        run = run_with(tmp_path / str(number), episodes_of(*returns))
        columns = columns_of(type(rows_of(1)[0]))
        lines = [",".join(columns), *(",".join(str(getattr(row, name)) for name in columns) for row in rows_of(3))]
        (run.path / "metrics.csv").write_text("\n".join([*lines, ""]))
        runs.append(run)
    share, interval, count = share_made_worse(runs)
    assert (share, count) == (0.25, 4)  # half of one's updates, and none of the other's
    assert interval == pytest.approx((0.25 - 12.7062 * 0.25, 0.25 + 12.7062 * 0.25), rel=1e-4)
    assert share_made_worse(runs[:1]) == (0.5, None, 2)
    assert np.isnan(share_made_worse(runs[2:])[0])
