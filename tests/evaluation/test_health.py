"""What is said of a training's metrics, from rows made by hand."""

import pytest

from ppocli.evaluation.health import FIRST_ITERATION, WINDOW, findings
from ppocli.records.logs import Metrics
from tests.records.runs import columns_of

HEALTHY = {
    "approx_kl": 0.01,
    "clip_fraction": 0.1,
    "entropy": 0.5,
    "explained_variance": 0.9,
    "return_min": 10.0,
    "return_mean": 20.0,
    "return_max": 30.0,
}
SCREEN_COLUMNS = 80


def rows(count=WINDOW, first=FIRST_ITERATION, **changes):
    """Rows that are healthy but for `changes`; a list among these has a value for each row."""
    columns = {name: value if isinstance(value, list) else [value] * count for name, value in changes.items()}
    return [
        Metrics(
            **dict.fromkeys(columns_of(Metrics), 1.0)
            | HEALTHY
            | {"iteration": first + number}
            | {name: values[number] for name, values in columns.items()}
        )
        for number in range(count)
    ]


def metrics_of(found):
    return [finding.metric for finding in found]


def test_nothing_is_wrong_with_a_healthy_run():
    assert findings(rows(), initial_entropy=0.69, target=475.0) == []


@pytest.mark.parametrize(
    ("metric", "good", "bad"),
    [("approx_kl", 0.03, 0.031), ("clip_fraction", 0.3, 0.31), ("explained_variance", 0.0, -0.01)],
)
def test_thresholds(metric, good, bad):
    assert findings(rows(**{metric: good})) == []
    (finding,) = findings(rows(**{metric: bad}))
    assert finding.metric == metric
    assert finding.value == pytest.approx(bad)


@pytest.mark.parametrize("kind", [{"approx_kl": 1.0}, {"clip_fraction": 1.0}, {"explained_variance": -1.0}], ids=str)
def test_advice_fits_a_line_and_the_explanation_has_the_number(kind):
    (finding,) = findings(rows(**kind))
    assert len(f"! {finding.advice}") <= SCREEN_COLUMNS
    assert f"{finding.metric} is {next(iter(kind.values())):.1f}" in finding.explanation


def test_large_updates_are_one_finding_and_the_first():
    found = findings(rows(approx_kl=1.0, clip_fraction=1.0, explained_variance=-1.0, entropy=0.0), initial_entropy=0.69)
    assert metrics_of(found) == ["approx_kl", "explained_variance", "entropy"]


def test_nothing_is_said_at_the_start():
    assert findings(rows(first=1, approx_kl=1.0)) == []  # iterations 1 to 10
    assert findings(rows(first=2, approx_kl=1.0)) != []
    assert findings(rows(WINDOW - 1, approx_kl=1.0)) == []
    assert findings([]) == []


def test_one_bad_iteration_is_not_enough():
    assert findings(rows(approx_kl=[0.005] * 9 + [0.2])) == []  # a mean of 0.0245
    assert findings(rows(explained_variance=[0.9] * 6 + [-20.0] * 4)) == []  # a mean of -7.46, a median of 0.9


def test_only_the_last_iterations_count():
    assert findings(rows(2 * WINDOW, approx_kl=[1.0] * WINDOW + [0.01] * WINDOW)) == []
    assert findings(rows(2 * WINDOW, approx_kl=[0.01] * WINDOW + [1.0] * WINDOW)) != []


def test_a_critic_is_not_blamed_where_there_is_nothing_to_explain():
    solved = {"return_min": 500.0, "return_mean": 500.0, "return_max": 500.0}
    assert findings(rows(explained_variance=-3.0, **solved)) == []
    assert findings(rows(explained_variance=-3.0, return_min=None, return_mean=None, return_max=None)) == []
    assert findings(rows(explained_variance=-3.0, return_min=[30.0] * 5 + [10.0] * 5)) == []
    assert findings(rows(explained_variance=-3.0, return_min=[30.0] * 4 + [10.0] * 6)) != []
    assert findings(rows(explained_variance=[-3.0] * 4 + [0.9] * 6, return_min=[30.0] * 4 + [10.0] * 6)) == []


def test_entropy_is_judged_by_what_it_was_at_first():
    assert findings(rows(entropy=0.011), initial_entropy=0.5) == []
    (finding,) = findings(rows(entropy=0.009), initial_entropy=0.5)
    assert finding.metric == "entropy"
    assert len(f"! {finding.advice}") <= SCREEN_COLUMNS
    assert "entropy is 0.0090" in finding.explanation


def test_entropy_of_real_valued_actions_may_be_anything():
    assert findings(rows(entropy=-5.0)) == []


def test_a_policy_that_solves_its_task_need_not_explore():
    sure = rows(entropy=0.0, return_mean=[None] * 5 + [480.0] * 5)
    assert findings(sure, initial_entropy=0.69, target=475.0) == []
    assert metrics_of(findings(sure, initial_entropy=0.69, target=490.0)) == ["entropy"]
    assert metrics_of(findings(sure, initial_entropy=0.69)) == ["entropy"]
    assert metrics_of(findings(rows(entropy=0.0, return_mean=None), initial_entropy=0.69, target=-1.0)) == ["entropy"]
