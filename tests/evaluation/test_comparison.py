"""Which config is better: against SciPy's numbers, and those that rliable gave for the same scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ppocli.evaluation.comparison import (
    Comparison,
    Scores,
    Times,
    difference,
    iqm_interval_over_seeds,
    probability_of_improvement,
    seeds_needed,
    times,
    welch_interval,
)
from ppocli.evaluation.estimates import iqm
from ppocli.views.comparison import verdicts

A = np.array([203.77, 196.04, 219.21, 203.15, 183.93, 210.85, 239.12])
B = np.array([229.47, 212.96, 207.35, 213.77, 220.41])


def seeded(scores, first=0):
    return dict(enumerate(map(float, scores), first))


def test_it_agrees_with_rliable():
    """What version 1.2 of it gives for a task of its own in each, A and B as columns of scores."""
    assert probability_of_improvement(A, B) == pytest.approx(0.7428571428571429, abs=1e-6)
    assert iqm(A) == pytest.approx(206.60399999999998, abs=1e-6)
    assert iqm(B) == pytest.approx(215.71333333333334, abs=1e-6)


def test_ties_count_half():
    assert probability_of_improvement(np.array([1.0, 2.0]), np.array([2.0, 2.0])) == 0.75
    assert probability_of_improvement(A, A) == 0.5


def test_the_interval_is_welchs():
    expected = stats.ttest_ind(B, A, equal_var=False).confidence_interval()
    assert welch_interval(A, B) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert welch_interval(A[:1], B) is None
    assert welch_interval(np.array([3.0, 3.0]), np.array([5.0, 5.0])) == (2, 2)


def test_the_same_seeds_are_compared_pair_by_pair():
    found = difference(seeded(A[:5]), dict(reversed(seeded(B).items())))  # in whatever order they come
    expected = stats.ttest_rel(B, A[:5]).confidence_interval()
    assert found.paired
    assert found.mean == pytest.approx(float(B.mean() - A[:5].mean()))
    assert found.interval == pytest.approx((expected.low, expected.high), abs=1e-6)
    others = difference(seeded(A[:5]), seeded(B, first=5))
    assert not others.paired
    assert others.interval == pytest.approx(welch_interval(A[:5], B))
    assert others.mean == pytest.approx(found.mean)


@pytest.mark.parametrize(
    ("effect", "paired", "count"), [(0.5, True, 34), (0.5, False, 64), (1, False, 17), (1, True, 10)]
)
def test_how_many_seeds_would_tell(effect, paired, count):
    """The textbook's numbers for 80 % power: of t tests with such effects, in standard deviations."""
    spread = 1 / effect if paired else np.sqrt(2) / effect
    assert seeds_needed(1.0, spread, paired=paired) == count
    assert seeds_needed(-1.0, spread, paired=paired) == count
    assert seeds_needed(0.0, spread, paired=paired) is None


def test_seeds_are_asked_for_only_where_these_do_not_tell():
    base = seeded([0.0, 1.0, 2.0])
    clear, unclear = difference(base, seeded([10.0, 11.5, 12.0])), difference(base, seeded([1.0, 0.5, 2.5]))
    assert clear.is_told
    assert clear.seeds_needed is None
    assert not unclear.is_told
    assert unclear.seeds_needed > 3
    single = difference(seeded([0.0]), seeded([5.0]))
    assert (single.interval, single.seeds_needed, single.paired, single.is_told) == (None, None, False, False)


def test_intervals_over_seeds_are_resampled_from_ten_on():
    rng = np.random.default_rng(0)
    few, many, others = rng.normal(size=9), rng.normal(size=12), rng.normal(1, size=12)
    assert iqm_interval_over_seeds(few) is None
    low, high = iqm_interval_over_seeds(many)
    assert low < iqm(many) < high
    assert difference(seeded(few), seeded(others)).p_improvement_interval is None
    found = difference(seeded(many), seeded(others))
    low, high = found.p_improvement_interval
    assert 0 <= low < found.p_improvement < high <= 1
    # SciPy's own, by other random numbers.
    expected = stats.bootstrap(
        (many, others),
        lambda a, b, axis: _share(a, b),
        n_resamples=4000,
        method="percentile",
        rng=1,
        vectorized=True,
    ).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.03)


def _share(a, b):
    return (b[..., :, None] > a[..., None, :]).mean((-2, -1))


@pytest.mark.parametrize(
    ("solved_at", "until", "expected"),
    [
        ([3, 1, 2], [9, 9, 9], Times(3, 2, 2)),
        ([1, None, None], [9, 9, 8], Times(1, None, 9)),
        ([5, None, 7, 8], [9, 2, 9, 9], Times(3, 7, 7)),  # 2/3 are left after 5, 1/3 after 7
        ([None, None], [4, 6], Times(0, None, 6)),
        ([4, 4, None], [9, 9, 4], Times(2, 4, 4)),
    ],
)
def test_times_that_were_not_waited_for(solved_at, until, expected):
    assert times(solved_at, until) == expected


def test_the_median_of_times_is_kaplan_and_meiers():
    rng = np.random.default_rng(0)
    for _ in range(50):
        true, until = rng.exponential(1, 8), rng.exponential(2, 8)
        solved = [float(time) if time <= end else None for time, end in zip(true, until, strict=True)]
        ends = np.minimum(true, until)
        survival = stats.ecdf(stats.CensoredData.right_censored(ends, true > until)).sf
        below = survival.quantiles[survival.probabilities <= 0.5 + 1e-12]
        assert times(solved, until.tolist()).median == (pytest.approx(below[0]) if below.size else None)


def scores(label, by_seed, base=None):
    found = difference(base, by_seed) if base else None
    mean = float(np.mean(list(by_seed.values())))
    return Scores(label, {}, list(by_seed), list(by_seed.values()), mean, None, mean, None, None, None, found)


def test_verdicts_know_their_limits():
    base = seeded([0.0, 1.0, 2.0])
    others = {
        "better": seeded([10.0, 11.5, 12.0]),
        "worse": seeded([-10.0, -8.5, -8.0], first=5),
        "unclear": seeded([1.0, 0.5, 2.5]),
        "single": {0: 30.0},
    }
    groups = [scores("base", base), *(scores(name, by_seed, base) for name, by_seed in others.items())]
    better, worse, unclear, single = verdicts(Comparison("X-v0", groups))
    assert better.startswith(
        "B is better than A: +10.2, 95 % interval 9.4 to 10.9 over 3 pairs of seeds; the better one"
    )
    assert worse.startswith("C is worse than A: −9.8, 95 % interval −12.")
    assert "over 3 and 3 seeds; the better one in 0% of pairs of runs" in worse
    assert unclear.startswith("these seeds cannot tell D from A: +0.3, 95 % interval −1.6 to 2.2 over 3 pairs of seeds")
    assert unclear.endswith("seeds of each would (80 % power at this difference)")
    assert single == "E beside A: +29.0; one seed of a config tells nothing of its others"


def test_by_the_command(ppocli):
    small = ("--set", "train.env_steps=2048", "--set", "env.workers=0", "--set", "train.eval_episodes=2", "--quiet")
    for name, *changed in (
        ("slow", "--set", "update.learning_rate=1e-5"),
        ("fast", "--set", "update.learning_rate=1e-3"),
    ):
        for seed in ("1", "2"):
            ppocli("train", "--config", "cartpole", "--seed", seed, "--name", name, *small, *changed)
    runs = sorted(map(str, Path("runs/CartPole-v1").iterdir()), key=lambda path: path.rpartition("-")[2], reverse=True)
    found = json.loads(ppocli("compare", *runs, "--json").stdout)["comparisons"]
    (comparison,) = found
    slow, fast = comparison["groups"]
    assert (slow["label"], fast["label"]) == ("slow", "fast")
    assert slow["settings"] == {"update.learning_rate": "1e-05"}
    assert fast["difference"]["paired"]
    assert fast["difference"]["mean"] == pytest.approx(fast["mean"] - slow["mean"])
    assert fast["env_steps_to_target"]["solved"] == 0
    said = ppocli("compare", *runs).stdout
    assert "A  slow" in said
    assert "update.learning_rate: A 1e-05; B 0.001" in said
    one = ppocli("compare", *[run for run in runs if run.endswith("slow")])
    assert (one.exit_code, one.stderr) == (
        2,
        "error: compare takes runs of two configs at least; these are of one, but for their seeds\n",
    )
