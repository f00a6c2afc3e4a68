"""What a training command ends with, from iterations made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from ppocli.envs.api import Continuous, Discrete
from ppocli.errors import RunError
from ppocli.evaluation.statistics import Verdict
from ppocli.records.checkpoint import Checkpoint, Progress
from ppocli.records.writer import RunWriter
from ppocli.training.job import Job
from ppocli.training.outcome import Iteration, Outcome, saturated_actions
from ppocli.training.setup import versions
from tests.records.runs import CONFIG, create, metrics

PHASES = {"rollout_seconds": 1.0, "update_seconds": 0.5, "evaluation_seconds": 0.25}
VERDICT = Verdict(None, None, is_best=False, recent_return=None, target=None)


def iteration(seconds, **progress):
    row = metrics(seconds=seconds, **PHASES)
    return Iteration(row, Progress(seconds=seconds, **progress), (), rollout_ended=seconds, verdict=VERDICT)


@pytest.fixture
def job(tmp_path):
    run = create(tmp_path)
    run.checkpoint("last").touch()
    return Job(CONFIG, RunWriter(run))


def test_actions_beyond_their_bounds_by_hand():
    actions = np.array([[[0.5, 9.0], [1.0, 0.0]], [[-1.5, 0.0], [-1.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]], np.float32)
    assert saturated_actions(actions, Continuous((True, False))) == 2 / 6  # ± 1 is still within; the 9 has no bounds
    assert saturated_actions(actions, Continuous((True, True))) == 3 / 12
    assert saturated_actions(actions, Continuous((False, False))) is None
    assert saturated_actions(np.zeros((3, 2), np.int64), Discrete(2)) is None


def test_where_the_time_went(job):
    outcome = Outcome(job)
    for seconds in (3.75, 5.5):
        outcome.add(iteration(seconds))
    assert outcome.result(6.0, interrupted=False).seconds == {
        "start_up": 2.0,
        "rollout": 2.0,
        "update": 1.0,
        "evaluation": 0.5,
        "other": 0.5,
    }


def test_only_the_time_of_this_command_counts(job, tmp_path):
    saved = Checkpoint(tmp_path / "x", CONFIG, Progress(seconds=100.0, env_steps=64), {}, {})
    outcome = Outcome(replace(job, resumes=True, saved=saved))
    outcome.add(iteration(103.75, env_steps=128))
    result = outcome.result(4.0, interrupted=False)
    assert result.seconds == {"start_up": 2.0, "rollout": 1.0, "update": 0.5, "evaluation": 0.25, "other": 0.25}
    assert (result.wall_seconds, result.resumed_at_env_steps) == (4.0, 64)
    assert result.env_steps_per_second == 128 / 103.75  # of the whole run


def test_how_far_it_came(job):
    outcome = Outcome(job)
    outcome.add(iteration(2.0, iterations=1, env_steps=64, best_return=3.0))
    outcome.add(
        iteration(4.0, iterations=2, env_steps=128, best_return=5.0, solved_at_env_steps=128, solved_at_seconds=3.5)
    )
    result = outcome.result(6.0, interrupted=True)
    assert (result.iterations, result.env_steps, result.env_steps_per_second) == (2, 128, 32)
    assert (result.solved, result.solved_at_env_steps, result.solved_at_seconds) == (True, 128, 3.5)
    assert (result.best_return, result.interrupted, result.resumed_at_env_steps) == (5.0, True, None)
    assert (result.env_id, result.seed, result.run_dir) == ("Some/Thing-v1", 3, job.run.path)
    assert result.checkpoint == job.run.checkpoint("last")


def test_a_command_that_was_stopped_at_once(job):
    result = Outcome(job).result(6.0, interrupted=True)
    assert (result.seconds, result.env_steps_per_second, result.solved) == ({"other": 6.0}, 0, False)
    job.run.checkpoint("last").unlink()
    with pytest.raises(RunError, match="no checkpoint in it"):
        Outcome(job).result(6.0, interrupted=True)


def test_versions_are_those_of_all_that_results_depend_on():
    extras = {"mujoco", "envpool", "ale-py", "opencv-python-headless", "minigrid"}
    assert versions().keys() - extras == {"ppocli", "python", "torch", "gymnasium", "box2d", "numpy", "machine"}
    assert all(versions().values())
