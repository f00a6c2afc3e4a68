"""Each algorithm in whole trainings: it learns, it resumes to the bit, and it says what it did."""

import csv
from itertools import product

import pytest

from ppocli.config.models import Config
from ppocli.config.sections import ALGORITHMS
from ppocli.records import checkpoint
from ppocli.records.run import Run
from tests import jobs
from tests.endings import assert_same_ending
from tests.jobs import trained
from tests.training.test_resume import killed

TINY = {
    "env": {"num_envs": 4, "workers": 0},
    "network": {"hidden_sizes": [8]},
    "rollout": {"horizon": 32},
    "update": {"minibatch_size": 32, "update_epochs": 2, "ent_coef": 0.01},
    "train": {"env_steps": 128 * 8, "eval_interval": 384, "eval_episodes": 3, "checkpoint_interval": 256},
}
OWN_COLUMNS = {"approx_kl", "clip_fraction", "kl", "step_length", "line_search_steps"}
KNOWN = {
    "ppo": {"approx_kl", "clip_fraction", "kl"},
    "vpg": {"kl"},
    "npg": {"kl", "step_length"},
    "trpo": {"kl", "step_length", "line_search_steps"},
}


def config_of(algorithm, **sections):
    values = {name: {**TINY.get(name, {}), **sections.get(name, {})} for name in TINY.keys() | sections.keys()}
    return Config.model_validate({"algorithm": algorithm, **values})


ENVS = {
    "one choice": {"id": "CartPole-v1"},
    "choices": {"id": "Echo-v0", "kwargs": {"kind": "multi-discrete"}},
    "numbers": {"id": "Pendulum-v1"},
}
DIAGONAL = [("vpg", "one choice"), ("npg", "choices"), ("trpo", "numbers")]
OTHERS = [pair for pair in product(ALGORITHMS, ENVS) if pair not in DIAGONAL]


@pytest.mark.parametrize(
    ("algorithm", "actions"), [*DIAGONAL, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS)]
)
def test_a_killed_run_ends_like_one_that_never_was(algorithm, actions, tmp_path):
    config = config_of(algorithm, env=ENVS[actions] | TINY["env"])
    expected, _ = trained(config, tmp_path / "whole")
    run = Run(killed(config, tmp_path / "killed", 5))
    list(jobs.resume(run))
    assert_same_ending(run, expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_an_algorithm_does_not_have_is_an_empty_cell(algorithm, tmp_path):
    run, _ = trained(config_of(algorithm, env={"id": "CartPole-v1"} | TINY["env"]), tmp_path / "run")
    with (run.path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {name for name in OWN_COLUMNS if any(row[name] for row in rows)} == KNOWN[algorithm]
    assert all(row[name] for name in KNOWN[algorithm] for row in rows)
    assert [row.kl for row in run.metrics()] == [float(row["kl"]) for row in rows]


def test_reinforce_trains_without_a_critic_and_only_when_an_episode_has_ended(tmp_path):
    changes = {
        "vpg": {"baseline": False},
        "rollout": {"horizon": 10, "gae_lambda": 1},
        "update": {"minibatch_size": 20},
    }
    config = config_of("vpg", env={"id": "CartPole-v1"} | TINY["env"], train={"env_steps": 200}, **changes)
    run, _ = trained(config, tmp_path / "run")
    rows = run.metrics()
    assert [row.policy_loss is None for row in rows] == [row.episodes == 0 for row in rows]
    assert {row.episodes == 0 for row in rows} == {True, False}
    assert not any(row.value_loss or row.explained_variance for row in rows)


@pytest.mark.parametrize(
    ("snapshots", "hidden", "kept"),
    [("auto", 8, [0, 0, 2, 4, 8]), (3, 8, [0, 2, 8]), (1, 8, [8]), (0, 8, []), ("auto", 512, []), (2, 512, [0, 8])],
)
def test_agents_are_kept_over_training(snapshots, hidden, kept, tmp_path):
    train = {"snapshots": snapshots, **TINY["train"]}
    config = config_of(
        "vpg", env={"id": "CartPole-v1"} | TINY["env"], train=train, network={"hidden_sizes": [hidden, hidden]}
    )
    run, _ = trained(config, tmp_path / "run")
    saved = [checkpoint.load(path) for path in run.snapshots]
    assert [one.progress.iterations for one in saved] == sorted(set(kept))
    assert {name.partition(".")[0] for one in saved for name in one.arrays} <= {"agent"}
    if kept:
        last = checkpoint.load(run.checkpoint("last"))
        assert {name: values.tolist() for name, values in saved[-1].part("agent").items()} == {
            name: values.tolist() for name, values in last.part("agent").items()
        }
        assert all(path.stat().st_size < 1_100_000 for path in run.snapshots) == (hidden == 8)


def test_snapshots_after_the_moment_that_a_run_is_resumed_from_are_of_another_way(tmp_path):
    train = {**TINY["train"], "snapshots": 9, "checkpoint_interval": 512}
    config = config_of("ppo", env={"id": "CartPole-v1"} | TINY["env"], train=train)
    run = Run(killed(config, tmp_path / "run", 7))  # its last checkpoint is of iteration 4
    assert [checkpoint.load(path).progress.iterations for path in run.snapshots] == [0, 1, 2, 3, 4, 6]
    iterations = jobs.resume(run, "train.snapshots=0", "train.env_steps=1536")
    next(iterations)
    iterations.close()
    assert [checkpoint.load(path).progress.iterations for path in run.snapshots] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("algorithm", "env_steps", "worst"),  # to be trained; and after which the last of seeds 0 to 9 had solved it
    [
        pytest.param("ppo", 60_000, 18_432, marks=pytest.mark.slow),
        pytest.param("npg", 60_000, 16_384, marks=pytest.mark.slow),
        ("trpo", 60_000, 16_384),
        pytest.param("vpg", 200_000, 74_752, marks=pytest.mark.slow),
    ],
)
def test_cartpole_is_solved_with_defaults_alone(algorithm, env_steps, worst, tmp_path):
    settings = {"algorithm": algorithm, "env": {"id": "CartPole-v1"}, "train": {"env_steps": env_steps}}
    run = Run(tmp_path / "run")
    *_, last = jobs.train(Config.model_validate(settings), run, stop_when_solved=True)
    assert last.progress.solved_at_env_steps <= 1.25 * worst
