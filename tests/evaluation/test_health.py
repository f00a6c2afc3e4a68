"""What is said of a training's metrics, from rows made by hand."""

import pytest

from ppocli.envs.api import Continuous, Discrete
from ppocli.evaluation.health import FIRST_ITERATION, WINDOW, Health
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
    "value_loss": 0.1,
    "value_target_std": 1.0,
    "saturated_actions": None,
    "kl": 0.02,
    "step_length": None,
    "line_search_steps": None,
}
TRPO = {"approx_kl": None, "clip_fraction": None, "kl": 0.01, "step_length": 0.1, "line_search_steps": 2}
SCREEN_COLUMNS = 80
LAST = 30  # iteration of the trainings below


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


def findings(last, *, first=(), action_spec=None, num_iterations=None, target=None):
    health = Health(action_spec, num_iterations)
    for row in (*first, *last):
        health.add(row)
    return health.findings(target)


def metrics_of(found):
    return [finding.metric for finding in found]


def test_nothing_is_wrong_with_a_healthy_run():
    first, last = rows(first=1, return_mean=10.0), rows(first=LAST)
    assert findings(last, first=first, action_spec=Discrete(2), num_iterations=LAST, target=475.0) == []


@pytest.mark.parametrize(
    ("metric", "good", "bad"),
    [("approx_kl", 0.03, 0.031), ("clip_fraction", 0.3, 0.31), ("explained_variance", 0.0, -0.01)],
)
def test_thresholds(metric, good, bad):
    assert findings(rows(**{metric: good})) == []
    (finding,) = findings(rows(**{metric: bad}))
    assert finding.metric == metric
    assert finding.value == pytest.approx(bad)


ALL = {
    "approx_kl": {"approx_kl": 1.0},
    "clip_fraction": {"clip_fraction": 1.0},
    "kl": TRPO | {"kl": 1.0},
    "line_search_steps": TRPO | {"line_search_steps": 10, "step_length": 0.0},
    "value_loss": {"value_loss": 11.0},
    "value_target_std": {"value_target_std": 1000.0},
    "explained_variance": {"explained_variance": -1.0},
    "entropy": {"entropy": 0.001},
    "saturated_actions": {"saturated_actions": 0.9},
    "return_mean": {"return_mean": 5.0},
}


def test_where_nothing_is_estimated_on_the_way_the_whole_update_counts():
    vpg = dict.fromkeys(["approx_kl", "clip_fraction"])
    assert metrics_of(findings(rows(kl=0.051, **vpg))) == ["kl"]
    assert metrics_of(findings(rows(kl=0.049, **vpg))) == []
    assert metrics_of(findings(rows(kl=0.051))) == []  # of PPO, which has its own signs


def test_a_line_search_that_finds_no_step():
    for in_vain, found in ((6, ["line_search_steps"]), (5, [])):
        lengths = [0.0] * in_vain + [0.1] * (WINDOW - in_vain)
        assert metrics_of(findings(rows(**TRPO | {"step_length": lengths, "line_search_steps": 10}))) == found
    # NPG has steps and no search: one of nothing, where there is no gradient, is no search in vain
    assert metrics_of(findings(rows(**TRPO | {"step_length": 0.0, "line_search_steps": None}))) == []


def test_reinforce_has_no_critic_to_be_judged():
    nothing = dict.fromkeys(["value_loss", "explained_variance", "approx_kl", "clip_fraction"])
    assert findings(rows(**nothing), first=rows(first=1, **nothing)) == []


def test_an_update_that_did_not_take_place_is_judged_by_nothing():
    names = ["policy_loss", "value_loss", "entropy", "kl", "value_target_std", "gradient_norm", "approx_kl"]
    nothing = dict.fromkeys([*names, "clip_fraction", "explained_variance"])
    assert findings(rows(**nothing), first=rows(first=1, **nothing), action_spec=Discrete(2)) == []


@pytest.mark.parametrize("metric", ALL)
def test_advice_fits_a_line_and_the_explanation_has_the_number(metric):
    first = rows(first=1, return_mean=10.0)
    (finding,) = findings(rows(**ALL[metric]), first=first, action_spec=Discrete(2), num_iterations=FIRST_ITERATION)
    assert finding.metric == metric
    assert len(f"! {finding.advice}") <= SCREEN_COLUMNS
    assert f"{metric} is {ALL[metric][metric]:.4g}, the" in finding.explanation


def test_the_gravest_is_first_and_what_says_the_same_is_said_once():
    everything = {metric: values[metric] for metric, values in ALL.items()}
    found = findings(rows(**everything), first=rows(first=1), action_spec=Discrete(2), num_iterations=FIRST_ITERATION)
    assert metrics_of(found) == ["approx_kl", "value_loss", "entropy", "saturated_actions", "return_mean"]


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


def test_a_value_loss_explodes_beside_that_of_the_first_iterations():
    first = rows(first=1, value_loss=[0.3] + [0.1] * 8 + [0.0])  # a median of 0.1
    assert findings(rows(value_loss=2.99), first=first) == []
    assert metrics_of(findings(rows(value_loss=3.01), first=first)) == ["value_loss"]
    assert findings(rows(value_loss=3.01)) == []  # beside itself: the first ones are not known


@pytest.mark.parametrize(("good", "bad"), [(30.0, 31.0), (0.01, 0.0099)])
def test_value_targets_far_from_1_are_rewards_of_another_size(good, bad):
    first = rows(first=1, value_target_std=good)
    assert findings(rows(value_target_std=good), first=first) == []
    (finding,) = findings(rows(value_target_std=bad), first=rows(first=1, value_target_std=bad))
    assert finding.metric == "value_target_std"
    assert "normalize_rewards" in finding.advice
    assert findings(rows(value_target_std=None), first=rows(first=1, value_target_std=None)) == []  # of an older run


def test_rewards_that_are_met_late_explode_nothing():
    first = rows(first=1, value_loss=1e-5, value_target_std=0.0)
    assert findings(rows(value_loss=0.5), first=first) == []
    then = rows(value_loss=0.1)
    assert metrics_of(findings(rows(value_loss=3.01), first=[*first, *then])) == ["value_loss"]


def test_where_no_reward_is_ever_met_its_size_is_not_the_trouble():
    same = {"return_min": 0.0, "return_mean": 0.0, "return_max": 0.0}
    unrewarded = {"value_loss": 1e-5, "value_target_std": 0.0, **same}
    first = rows(first=1, **unrewarded)
    assert metrics_of(findings(rows(**unrewarded), first=first, num_iterations=LAST)) == ["return_mean"]


def test_value_targets_of_a_good_policy_may_be_all_alike():
    assert findings(rows(value_target_std=0.001), first=rows(first=1, value_target_std=1.0)) == []
    assert metrics_of(findings(rows(value_target_std=1000.0), first=rows(first=1))) == ["value_target_std"]


def test_entropy_is_judged_by_what_it_was_at_first():
    first = rows(first=1, entropy=[0.5] + [0.3] * 9)
    assert findings(rows(entropy=0.011), first=first, action_spec=Discrete(2)) == []
    assert metrics_of(findings(rows(entropy=0.009), first=first, action_spec=Discrete(2))) == ["entropy"]
    assert findings(rows(entropy=0.009), first=first) == []  # what it is the entropy of is not known
    assert findings(rows(entropy=0.009), action_spec=Discrete(2)) == []  # nor what it was


def test_entropy_of_real_valued_actions_is_judged_by_their_standard_deviation():
    first = rows(first=1, entropy=2.8)  # of two dimensions; a fiftieth of the deviation is 2 · log 50 = 7.82 less
    assert findings(rows(entropy=-5.0), first=first, action_spec=Continuous((True, True))) == []
    assert metrics_of(findings(rows(entropy=-5.1), first=first, action_spec=Continuous((True, True)))) == ["entropy"]


def test_a_policy_that_solves_its_task_need_not_explore():
    unsure = rows(first=1, entropy=0.69)

    def found(target, **changes):
        last = rows(entropy=0.0, saturated_actions=1.0, **changes)
        return metrics_of(findings(last, first=unsure, action_spec=Discrete(2), target=target))

    returns = [None] * 5 + [480.0] * 5
    assert found(475.0, return_mean=returns) == []
    assert found(490.0, return_mean=returns) == ["entropy", "saturated_actions"]
    assert found(None, return_mean=returns) == ["entropy", "saturated_actions"]
    assert found(-1.0, return_mean=None) == ["entropy", "saturated_actions"]


def test_most_actions_beyond_their_bounds():
    assert findings(rows(saturated_actions=0.8)) == []
    assert metrics_of(findings(rows(saturated_actions=0.81))) == ["saturated_actions"]


def test_nothing_learned_after_a_third_of_training():
    # From 20 on, between 10 and 30 at first: a tenth of that spread more is 22.
    first = rows(first=1, return_mean=[None, 20.0] + [21.0] * 8)
    at = {"first": LAST - WINDOW + 1, "count": WINDOW}
    assert metrics_of(findings(rows(**at, return_mean=22.0), first=first, num_iterations=3 * LAST)) == ["return_mean"]
    assert findings(rows(**at, return_mean=22.1), first=first, num_iterations=3 * LAST) == []
    assert findings(rows(**at, return_mean=22.0), first=first, num_iterations=3 * LAST + 1) == []  # not yet a third
    assert findings(rows(**at, return_mean=22.0), first=first, num_iterations=3 * LAST, target=15.0) == []
    assert findings(rows(**at, return_mean=22.0), first=first) == []  # how long it is to be is not known
    nothing_ended = dict.fromkeys(("return_mean", "return_min", "return_max"))
    assert findings(rows(**at), first=rows(first=1, **nothing_ended), num_iterations=3 * LAST) == []
    assert findings(rows(**at, **nothing_ended), first=first, num_iterations=3 * LAST) == []
