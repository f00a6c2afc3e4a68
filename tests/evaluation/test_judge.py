"""When training looks at its agent, in which episodes, and what it makes of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ppocli.algorithm.agent import Agent
from ppocli.config.models import Config
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Discrete, Vector
from ppocli.envs.episodes import Episode
from ppocli.envs.make import evaluation_envs
from ppocli.errors import CheckpointError
from ppocli.evaluation.judge import EvaluationStopped, Judge
from ppocli.evaluation.play import evaluate
from ppocli.seeds import Purpose, evaluation_seeds, training_seeds

EVAL_EPISODES = 7
RETURN = 6.0
"""Of each episode of `Counting`, whatever the agent does."""


class Recorded:
    """Environments that remember the seeds they were given."""

    def __init__(self, envs):
        self._envs = envs
        self.seeds = []

    def __getattr__(self, name):
        return getattr(self._envs, name)

    def reset(self, indices, seeds):
        self.seeds += seeds
        return self._envs.reset(indices, seeds)

    def seen(self):
        """The seeds since it was last asked."""
        seeds, self.seeds = self.seeds, []
        return seeds


@pytest.fixture(scope="module")
def agent():
    return Agent(Vector(2), Discrete(2), NetworkConfig(hidden_sizes=(4,)), torch.Generator().manual_seed(0))


@pytest.fixture
def make():
    def make(
        target=None,
        *,
        first_solver_wins=False,
        should_stop=lambda: False,
        seed=3,
        measured=None,
        wrappers=(),
        **train,
    ):
        config = Config.model_validate(
            {
                "env": {"id": "Counting-v0", "num_envs": 2, "workers": 0, "wrappers": wrappers},
                "evaluation": {"env_kwargs": measured or {}},
                "rollout": {"horizon": 16},
                "update": {"minibatch_size": 32},
                # ten iterations of 32 env steps, an evaluation after each second one
                "train": {
                    **{"env_steps": 320, "eval_interval": 64, "eval_episodes": EVAL_EPISODES, "seed": seed},
                    **{"target_return": target} | train,
                },
            }
        )
        envs = Recorded(evaluation_envs(config.evaluated_in))
        return Judge(config, envs, first_solver_wins=first_solver_wins, should_stop=should_stop), envs

    return make


def episodes(number, episode_return):
    return [Episode(0, 0, episode_return, 3, True, False, 0)] * number


def test_a_check_never_plays_the_episodes_of_an_evaluation(make, agent):
    judge, envs = make(target=RETURN + 1)
    judge.judge(agent, 1, [])
    evaluation = envs.seen()
    assert len(evaluation) == EVAL_EPISODES
    judge.target = RETURN
    judge.judge(agent, 9, [])  # the last iteration: a check and an evaluation, one after the other
    both = envs.seen()
    assert both[-EVAL_EPISODES:] == evaluation
    assert len(set(both)) == 100 + EVAL_EPISODES
    training = {training_seeds(3)(environment, number) for environment in range(2) for number in range(500)}
    afterwards = set(evaluation_seeds(3, Purpose.EVALUATION, 1000))
    assert not set(both) & training
    assert not set(both) & afterwards
    assert len(set(both) | training | afterwards) == 100 + EVAL_EPISODES + len(training) + 1000


def test_agents_are_compared_in_the_same_episodes_and_runs_of_other_seeds_in_others(make, agent):
    judge, envs = make()
    judge.judge(agent, 1, [])
    first = envs.seen()
    judge.judge(agent, 3, [])
    assert envs.seen() == first
    other, envs = make(seed=4)
    other.judge(agent, 1, [])
    assert not set(envs.seen()) & set(first)


@pytest.mark.parametrize(
    ("changes", "iterations", "expected"),
    [
        ({}, 10, [1, 3, 5, 7, 9]),
        ({"env_steps": 288}, 9, [1, 3, 5, 7, 8]),
        ({"eval_interval": 80}, 10, [2, 4, 7, 9]),
        ({"eval_interval": 1}, 10, list(range(10))),
        ({"eval_interval": 10**6}, 10, [9]),
    ],
)
def test_an_evaluation_is_due_with_each_multiple_of_its_interval_and_at_the_end(
    make, agent, changes, iterations, expected
):
    judge, envs = make(**changes)
    played = []
    for iteration in range(iterations):
        verdict = judge.judge(agent, iteration, [])
        assert verdict.eval_return == (RETURN if iteration in expected else None)
        if envs.seen():
            played.append(iteration)
    assert played == expected


def test_where_the_agent_is_measured_in_another_form_of_the_task_evaluations_decide_when_to_check(make, agent):
    judge, envs = make(target=3.0, measured={"length": 2})  # an episode of two steps returns 1 + 2
    assert judge.judge(agent, 0, episodes(100, 1000.0)).solved_return is None  # whatever training's rewards are
    assert envs.seen() == []
    verdict = judge.judge(agent, 1, episodes(100, -1000.0))
    assert (verdict.eval_return, verdict.solved_return, verdict.is_best) == (3.0, 3.0, True)
    judge, envs = make(target=3.1, measured={"length": 2})
    assert judge.judge(agent, 1, episodes(100, 1000.0)).solved_return is None
    assert len(envs.seen()) == EVAL_EPISODES  # no check: the evaluation has not reached the target
    judge, _ = make(target=3.0, measured={"length": 2})
    assert judge.judge(agent, 9, []).solved_return == 3.0  # the last one is checked once


def test_a_wrapper_of_training_alone_makes_it_another_form_of_the_task(make, agent):
    judge, envs = make(target=RETURN, wrappers=[{"id": "ClipReward", "max_reward": 1, "training_only": True}])
    judge.judge(agent, 0, episodes(100, 1000.0))
    assert envs.seen() == []


def test_a_target_of_zero_is_reached_like_any_other(make, agent, monkeypatch):
    monkeypatch.setattr(
        "ppocli.evaluation.judge.evaluate",
        lambda *given: [replace(episode, episode_return=-1.0) for episode in evaluate(*given)],
    )
    judge, envs = make(target=0.0, measured={"length": 2})
    assert judge.judge(agent, 1, []).eval_return == -1
    assert len(envs.seen()) == EVAL_EPISODES  # no check


def test_what_ends_for_want_of_a_better_evaluation_is_asked_whether_it_has_solved_the_task(make, agent):
    judge, envs = make(target=RETURN, patience=2, first_solver_wins=True)
    for iteration in (1, 3):
        verdict = judge.judge(agent, iteration, [])
        assert (verdict.solved_return, judge.without_better) == (None, (iteration - 1) // 2)
    envs.seen()
    verdict = judge.judge(agent, 5, [])
    assert (verdict.eval_return, verdict.solved_return, verdict.is_best) == (RETURN, RETURN, True)
    assert len(envs.seen()) == EVAL_EPISODES + 100


def test_the_last_in_time_is_evaluated_however_long_its_check_takes(make, agent):
    judge, envs = make(target=RETURN + 1)
    ends = iter([False, True])
    verdict = judge.judge(agent, 0, episodes(100, RETURN + 1), lambda: next(ends))
    assert (verdict.eval_return, verdict.solved_return) == (RETURN, None)
    assert len(envs.seen()) > EVAL_EPISODES  # there was a check


def test_without_a_target_nothing_is_ever_solved(make, agent):
    judge, envs = make()
    verdict = judge.judge(agent, 0, episodes(200, 1000.0))
    assert (verdict.solved_return, verdict.target, verdict.recent_return, envs.seen()) == (None, None, 1000.0, [])


def test_training_returns_decide_when_to_check_and_the_greedy_agent_whether_it_is_solved(make, agent):
    judge, envs = make(target=RETURN)
    assert judge.judge(agent, 0, episodes(19, 1000.0)).solved_return is None  # too few to tell
    assert envs.seen() == []
    judge, envs = make(target=RETURN)
    judge.judge(agent, 0, episodes(20, RETURN - 9))
    assert envs.seen() == []
    # Two thirds of the way from the first to the target is 3 below it.
    assert judge.judge(agent, 2, episodes(60, 1000.0) + episodes(20, RETURN - 3.1)).solved_return is None
    assert envs.seen() == []
    verdict = judge.judge(agent, 4, episodes(60, -1000.0) + episodes(20, RETURN - 3))
    assert (verdict.solved_return, verdict.is_best, verdict.eval_return) == (RETURN, False, None)
    assert verdict.played
    assert verdict.recent_return == pytest.approx((20 * (RETURN - 3.1) - 60_000 + 20 * (RETURN - 3)) / 100)
    assert verdict.target == RETURN
    assert len(envs.seen()) == 100
    verdict = judge.judge(agent, 9, episodes(100, RETURN))  # solved once is solved, even in the end
    assert (verdict.solved_return, len(envs.seen())) == (None, EVAL_EPISODES)


def test_who_has_begun_beyond_the_target_is_asked_as_long_as_training_averages_it(make, agent):
    judge, envs = make(target=RETURN)
    judge.judge(agent, 0, episodes(20, RETURN + 30) + episodes(20, RETURN - 1))
    assert envs.seen() == []
    assert judge.judge(agent, 1, episodes(20, RETURN)).solved_return == RETURN


TENTHS = [*range(2, 12), 13, 15, 17, 19, 21, 24, 27, 30, 33, 37, 40]
"""Iterations at each of which training is at least a tenth longer than at the one before."""


@pytest.mark.parametrize(
    ("gained", "expected"),
    [
        (6.0, TENTHS),
        (4.1, TENTHS),  # two thirds of the six that the policy lacks, and more
        (3.9, [2, 5, 11, 25, 40]),  # too little: only when training is twice as long as it need be
        (-50.0, [2, 5, 11, 25, 40]),
    ],
)
def test_a_check_that_failed_is_repeated_when_training_has_gained_most_of_what_it_lacked(make, agent, gained, expected):
    judge, envs = make(target=RETURN + 6, eval_interval=10**6, env_steps=32 * 40)
    judge.judge(agent, 0, episodes(20, -1000.0))
    recent, checked = -100.0, []
    for iteration in range(1, 40):
        judge.judge(agent, iteration, episodes(20, recent))
        if len(envs.seen()) >= 20:
            checked.append(iteration + 1)
            recent += gained
    assert checked == expected  # and after the last one always


def test_training_that_averages_the_target_is_enough_to_ask_whatever_a_check_found(make, agent):
    judge, envs = make(target=RETURN + 1, eval_interval=10**6, env_steps=32 * 40)
    checked = []
    for iteration in range(1, 40):
        judge.judge(agent, iteration, episodes(20, RETURN + 1))
        if len(envs.seen()) >= 20:
            checked.append(iteration + 1)
    assert checked == TENTHS


def test_every_check_has_episodes_of_its_own(make, agent):
    seeds, state = [], None
    for iteration, target in ((0, RETURN + 1), (20, RETURN + 1), (21, RETURN)):
        judge, envs = make(target=target, eval_interval=10**6)
        if state is not None:  # in a run that is resumed, too
            judge.load_state_dict(state)
        if target == RETURN:
            judge.ask_again()
        judge.judge(agent, iteration, episodes(20, target))
        seeds += envs.seen()
        state = judge.state_dict()
    assert len(set(seeds)) == len(seeds) == 20 + 20 + 100


def test_who_reaches_the_target_just_so_in_every_episode_has_solved_the_task(make, agent, monkeypatch):
    def exactly(envs, policy, seeds):
        return [replace(episode, episode_return=0.99) for episode in evaluate(envs, policy, seeds)]

    monkeypatch.setattr("ppocli.evaluation.judge.evaluate", exactly)
    judge, _ = make(target=0.99)
    assert judge.judge(agent, 9, episodes(20, 0.9)).solved_return == 0.99


def test_a_check_without_hope_ends_after_its_first_episodes(make, agent, monkeypatch):
    for returns, played in (
        ([RETURN - 1.0] * 20, 20),
        ([RETURN - 1.0, RETURN + 0.9] * 10, 100),  # 0.05 below the target, where 0.1 are hardly chance
        ([RETURN] * 20, 100),
    ):
        judge, envs = make(target=RETURN)
        given = iter([*returns, *[RETURN] * 80])
        monkeypatch.setattr(
            "ppocli.evaluation.judge.evaluate",
            lambda envs, policy, seeds, given=given: [
                replace(episode, episode_return=next(given)) for episode in evaluate(envs, policy, seeds)
            ],
        )
        judge.judge(agent, 0, episodes(20, RETURN))
        assert len(envs.seen()) == played


def test_the_best_is_the_later_of_equals_and_never_a_poorer_one(make, agent):
    judge, _ = make()
    assert [judge.judge(agent, iteration, []).is_best for iteration in range(4)] == [False, True, False, True]
    judge.best_return = RETURN + 1
    verdict = judge.judge(agent, 5, [])
    assert (verdict.eval_return, verdict.is_best, judge.best_return) == (RETURN, False, RETURN + 1)


def test_where_it_ends_the_run_the_agent_that_solves_the_task_is_the_best_whatever_came_before(make, agent):
    for wins in (False, True):
        judge, envs = make(target=RETURN, first_solver_wins=wins)
        judge.best_return = RETURN + 1
        verdict = judge.judge(agent, 1, episodes(100, RETURN))
        assert verdict.solved_return == RETURN
        assert (verdict.is_best, judge.best_return) == ((True, RETURN) if wins else (False, RETURN + 1))
        assert verdict.eval_return == (None if wins else RETURN)
        assert len(envs.seen()) == (100 if wins else 100 + EVAL_EPISODES)


def test_it_stops_in_the_middle_of_an_episode(make, agent):
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) == 2

    judge, _ = make(should_stop=should_stop)
    with pytest.raises(EvaluationStopped):
        judge.judge(agent, 1, [])
    assert len(asked) == 2


def test_it_goes_on_where_it_stood(make, agent):
    one, _ = make(target=RETURN + 1)
    one.judge(agent, 1, episodes(21, RETURN - 2))
    other, envs = make(target=RETURN + 1)
    other.load_state_dict(one.state_dict())
    assert other.best_return == RETURN
    assert other.judge(agent, 12, episodes(18, RETURN)).recent_return == pytest.approx((21 * 4 + 18 * 6) / 39)
    assert envs.seen() == []
    other.judge(agent, 20, episodes(1, RETURN + 4))
    assert len(envs.seen()) == 20  # with the fortieth episode the last twenty have come two thirds of the way, and more
    again, envs = make(target=RETURN + 1)
    again.load_state_dict(other.state_dict())
    again.judge(agent, 22, episodes(100, RETURN + 1))
    assert envs.seen() == []  # the check is as long ago as it was


def test_what_an_earlier_version_remembers_is_taken_over(make, agent):
    one, _ = make(target=RETURN)
    state = one.state_dict()
    del state["checks"], state["asks_at"], state["without_better"]  # which it did not know
    other, _ = make(target=RETURN)
    other.load_state_dict(state)
    assert other.judge(agent, 0, episodes(40, RETURN)).solved_return == RETURN


def test_what_was_solved_stays_solved_when_a_run_is_resumed(make, agent):
    one, _ = make(target=RETURN)
    assert one.judge(agent, 0, episodes(100, RETURN)).solved_return == RETURN
    other, envs = make(target=RETURN)
    other.load_state_dict(one.state_dict())
    assert other.judge(agent, 6, episodes(100, RETURN)).solved_return is None
    assert envs.seen() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("solved"),
        lambda state: state.update(more=np.array(1)),
        lambda state: state.update(next_check=np.array(1.0)),
        lambda state: state.update(recent_returns=np.array(1.0)),
    ],
    ids=range(4),
)
def test_a_state_of_another_form_is_refused(make, change):
    judge, _ = make()
    state = judge.state_dict()
    change(state)
    with pytest.raises(CheckpointError, match="does not hold what training has found out"):
        judge.load_state_dict(state)
