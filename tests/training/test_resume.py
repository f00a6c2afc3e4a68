"""A run that was killed, however often, ends like one that never was, to the bit."""

import csv
import itertools
import json
import os
import shutil
import time
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import examples.catch  # noqa: F401 - registers CameraCatch-v0
from ppocli import files
from ppocli.config.models import Config
from ppocli.envs.make import make_environments
from ppocli.errors import CheckpointError, ReplayError, RunError, UsageError
from ppocli.evaluation.judge import Judge
from ppocli.evaluation.play import evaluate
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Progress
from ppocli.records.info import Command
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.training.resume import moved_schedules, newest_checkpoint, resume_job, resumed_config, stops_when_solved
from ppocli.training.setup import build, inexactness
from tests import jobs
from tests.endings import assert_same_ending, ending, logs
from tests.jobs import train

TINY = {
    "env": {"id": "CartPole-v1", "num_envs": 4},
    "network": {"hidden_sizes": [8]},
    "ppo": {"horizon": 32, "minibatch_size": 32, "update_epochs": 2, "learning_rate": {"start": 3e-4, "end": 0}},
    "train": {"env_steps": 128 * 10, "eval_interval": 384, "eval_episodes": 3, "checkpoint_interval": 256},
}


def config_of(**sections):
    return Config.model_validate({name: TINY[name] | sections.get(name, {}) for name in TINY})


# What an environment can have: choices or real numbers, a world of its own, a time limit; and all that is normalised.
TASKS = {
    "CartPole": config_of(),
    "LunarLander": config_of(env={"id": "LunarLander-v3", "workers": 0}, train={"eval_interval": 10_000}),
    "walking": config_of(
        env={"id": "BipedalWalker-v3", "workers": 2},
        network={"normalize_obs": True},
        ppo={"normalize_rewards": True},
        train={"env_steps": 128 * 6, "eval_interval": 10_000, "eval_episodes": 1},
    ),
    "several choices": config_of(env={"id": "Echo-v0", "kwargs": {"kind": "multi-discrete"}}),
    "one-hot and masked": config_of(env={"id": "Taxi-v4"}, train={"eval_episodes": 1, "eval_interval": 10_000}),
    "wrapped": config_of(
        env={
            "wrappers": [
                {"id": "StickyAction", "repeat_action_probability": 0.3},  # which draws by itself
                {"id": "FrameStackObservation", "stack_size": 2},
                {"id": "ClipReward", "max_reward": 0.5, "training_only": True},
            ]
        },
        train={"env_steps": 128 * 6},
    ),
    "informed": config_of(
        env={"id": "Informed-v0", "info_keys": ["is_success", "height"]},
        train={"env_steps": 128 * 6},
    ),
    "seen": config_of(
        env={"id": "CameraCatch-v0"}, ppo={"minibatch_size": 128, "update_epochs": 1}, train={"env_steps": 128 * 6}
    ),
    "seen apart": config_of(
        env={"id": "CameraCatch-v0", "kwargs": {"sees": "camera"}},
        network={"shared_cnn": False},
        ppo={"minibatch_size": 128, "update_epochs": 1},
        train={"env_steps": 128 * 6},
    ),
    "remembered": config_of(
        network={"memory": {"size": 8}}, ppo={"minibatch_size": 64, "normalize_rewards": True}, train={"env_steps": 768}
    ),
    "seen and remembered": config_of(
        env={"id": "CameraCatch-v0"},
        network={"memory": {"size": 8}},
        ppo={"minibatch_size": 128, "update_epochs": 1},
        train={"env_steps": 128 * 6},
    ),
    "atari": config_of(
        env={
            "id": "ALE/Breakout-v5",
            "kwargs": {"frameskip": 1, "repeat_action_probability": 0.25},  # sticky actions draw by themselves
            "wrappers": [
                {"id": "AtariPreprocessing"},
                {"id": "FrameStackObservation", "stack_size": 4},
                {"id": "TimeLimit", "max_episode_steps": 40},
                {"id": "TerminateOnLifeLoss", "training_only": True},
            ],
        },
        ppo={"minibatch_size": 128, "update_epochs": 1},
        train={"env_steps": 128 * 6, "eval_episodes": 1, "eval_interval": 10_000},
    ),
    "minigrid": config_of(
        env={
            "id": "MiniGrid-DoorKey-5x5-v0",
            "wrappers": [{"id": "FilterObservation", "filter_keys": ["image", "direction"]}],
        },
        train={"env_steps": 128 * 6, "eval_episodes": 1, "eval_interval": 10_000},
    ),
    "all at once and masked": config_of(
        env={"id": "TogetherGated-v0", "backend": "vector"},
        train={"env_steps": 128 * 6},
    ),
}


def resume(folder, **options):
    run = Run(folder)
    list(jobs.resume(run, **options))
    return run


def whole(config, folder, **options):
    run = Run(folder)
    list(train(config, run, **options))
    return run


def killed(config, folder, iterations, **options):
    """A run as a kill after so many iterations leaves it: its files at that moment, with no time for last words."""
    victim = Run(folder.with_name(f"{folder.name}-victim"))
    training = train(config, victim, **options)
    assert len(list(islice(training, iterations))) == iterations
    shutil.copytree(victim.path, folder)
    training.close()
    return folder


SLOW = ("seen apart", "seen and remembered")
EXTRAS = {"atari": ["ale_py", "cv2"], "minigrid": ["minigrid"]}


@pytest.mark.parametrize("task", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in TASKS])
def test_a_killed_run_ends_like_one_that_never_was(task, tmp_path):
    for module in EXTRAS.get(task, ()):
        pytest.importorskip(module, reason="an extra")
    config = TASKS[task]
    expected = whole(config, tmp_path / "whole")
    # The checkpoint is an iteration old then, and the logs have rows that it does not count on.
    assert_same_ending(resume(killed(config, tmp_path / "killed", 5)), expected)


def test_killed_again_and_again(tmp_path):
    config = TASKS["CartPole"]
    folder = killed(config, tmp_path / "0", 1)  # before its first checkpoint
    for number in range(1, 5):
        run = Run(folder)
        iterations = jobs.resume(run)
        list(islice(iterations, 3))
        folder = tmp_path / str(number)
        shutil.copytree(run.path, folder)
        iterations.close()
    assert_same_ending(resume(folder), whole(config, tmp_path / "whole"))


def test_seconds_are_those_of_training_alone_and_count_on_when_a_run_is_resumed(tmp_path):
    began = time.perf_counter()
    folder = killed(config_of(), tmp_path / "killed", 5)
    first = time.perf_counter() - began
    run, began = Run(folder), time.perf_counter()
    before = newest_checkpoint(run).progress.seconds
    iterations = list(jobs.resume(run))
    second = time.perf_counter() - began
    assert 0 < before < first
    assert before < iterations[0].metrics.seconds < iterations[-1].metrics.seconds < before + second


def test_a_run_that_was_asked_to_stop(tmp_path):
    config = TASKS["LunarLander"]
    iterations = train(config, Run(tmp_path / "stopped"))
    list(islice(iterations, 5))
    iterations.close()
    assert_same_ending(resume(tmp_path / "stopped"), whole(config, tmp_path / "whole"))


@pytest.mark.parametrize("number", [0, 40, 120])
def test_asked_to_stop_while_greedy_episodes_are_played(number, tmp_path):
    """The evaluation is cut short, its iteration taken back, and played again when the run goes on."""
    config = config_of(train={"eval_interval": 128 * 2, "eval_episodes": 30})
    asked = itertools.count()
    iterations = list(train(config, Run(tmp_path / "stopped"), should_stop=lambda: next(asked) >= number))
    saved = newest_checkpoint(Run(tmp_path / "stopped"))
    assert saved.progress.iterations == len(iterations) < 10
    assert len(iterations) % 2 == 1  # the next one was to be evaluated
    assert_same_ending(resume(tmp_path / "stopped"), whole(config, tmp_path / "whole"))


def test_a_run_that_stops_when_it_is_solved(tmp_path):
    config = config_of(
        env={"id": "Truncated-v0"},
        ppo={"horizon": 8, "minibatch_size": 32},
        train={"env_steps": 32 * 12, "target_return": 6.0, "checkpoint_interval": 32},
    )
    expected = whole(config, tmp_path / "whole", stop_when_solved=True)
    assert checkpoint.load(expected.checkpoint("last")).progress.iterations == 2
    run = resume(killed(config, tmp_path / "killed", 1, stop_when_solved=True))
    assert_same_ending(run, expected)
    before = logs(run)
    assert logs(resume(run.path)) == before  # nothing is left to do


def test_results_do_not_depend_on_when_checkpoints_are_written(tmp_path):
    rarely = config_of(train={"checkpoint_interval": 128 * 7})
    ends = [ending(whole(config, tmp_path / str(number))) for number, config in enumerate((TASKS["CartPole"], rarely))]
    assert ends[0][2] == ends[1][2]
    assert all(np.array_equal(tensor, ends[1][0][key]) for key, tensor in ends[0][0].items())


# ----------------------------------------------------------------------------------------------------------------------
# Every piece of the state is needed


REMEMBERING = config_of(
    env={"id": "CartPole-v1"},
    network={"normalize_obs": True},
    ppo={"normalize_rewards": True, "gamma": 0.99},
    train={"env_steps": 128 * 14, "target_return": 14.0, "eval_interval": 128 * 3},
)
SOLVED = config_of(env={"id": "Truncated-v0"}, train={"target_return": 6.0, "eval_interval": 128 * 3})


def names_of(config, folder, iterations):
    return list(checkpoint.load(Run(killed(config, folder, iterations)).checkpoint("last")).arrays)


@pytest.fixture(scope="module")
def remembered(tmp_path_factory):
    """A run killed after its 8th iteration, in the middle of episodes, and how it would have ended."""
    folder = tmp_path_factory.mktemp("remembered")
    return killed(REMEMBERING, folder / "killed", 8), ending(whole(REMEMBERING, folder / "whole"))


def forget(folder, saved, key):
    """Write the newest checkpoint again without one piece of its state: with what a new run would have in its place."""
    fresh = {"var": np.ones_like(saved.arrays[key])}.get(key.rpartition(".")[2], np.zeros_like(saved.arrays[key]))
    if key in ("episodes.actions", "judge.recent_returns", "judge.best_return", "judge.asks_at"):
        fresh = fresh[:0] if key.startswith("judge") else 1 - saved.arrays[key]
    if key.startswith(("agent.actor", "agent.critic")):
        fresh = saved.arrays[key] + 1e-6  # even the last bits
    pieces = saved.arrays | {key: fresh}
    parts = {name.split(".")[0] for name in pieces}
    state = {
        part: {k.removeprefix(f"{part}."): v for k, v in pieces.items() if k.startswith(f"{part}.")} for part in parts
    }
    checkpoint.save(Run(folder).checkpoint("last"), saved.config, saved.progress, saved.versions, state)


PIECES = [
    *(f"agent.{net}.{layer}.{kind}" for net in ("actor", "critic") for layer in (0, 2) for kind in ("weight", "bias")),
    *(f"agent.normalizer.statistics.{name}" for name in ("mean", "var", "count")),
    *("optimizer.exp_avg", "optimizer.exp_avg_sq", "optimizer.steps"),
    *("rewards.returns", "rewards.mean", "rewards.var", "rewards.count"),
    *(f"episodes.{name}" for name in ("env_steps", "numbers", "lengths", "give_up_at", "returns", "obs", "actions")),
    *(
        f"judge.{name}"
        for name in ("recent_returns", "asks_at", "best_return", "without_better", "checks", "next_check", "solved")
    ),
]


def test_the_pieces_are_all_there_are(remembered):
    assert sorted(PIECES) == sorted(checkpoint.load(Run(remembered[0]).checkpoint("last")).arrays)


@pytest.mark.parametrize("piece", sorted({*PIECES} - {"judge.next_check", "judge.without_better"}))
def test_no_piece_of_the_state_can_be_left_out(piece, remembered, tmp_path):
    killed_folder, expected = remembered
    if piece == "judge.solved":  # which only a run that has solved its task has to remember
        expected = ending(whole(SOLVED, tmp_path / "whole"))
        killed_folder = killed(SOLVED, tmp_path / "solved", 6)
    folder = tmp_path / "forgetful"
    shutil.copytree(killed_folder, folder)
    saved = checkpoint.load(Run(folder).checkpoint("last"))
    forget(folder, saved, piece)
    try:
        run = resume(folder)
    except (ReplayError, CheckpointError):
        return
    tensors, progress, tables = ending(run)
    assert (
        progress != expected[1]
        or tables != expected[2]
        or any(not np.array_equal(tensors[key], expected[0][key]) for key in tensors)
    )


@pytest.mark.parametrize(("remembers", "solved_in"), [(True, 4), (False, 3)])
def test_when_to_check_again_cannot_be_left_out(remembers, solved_in, tmp_path, monkeypatch):
    """The check after iteration 1 fails, so that the next one is due when training is four times as long."""
    answers = iter([5.0, 6.0])

    def unlucky_once(envs, policy, seeds):
        episode_return = next(answers) if len(seeds) == 20 else 6.0
        return [replace(episode, episode_return=episode_return) for episode in evaluate(envs, policy, seeds)]

    monkeypatch.setattr("ppocli.evaluation.judge.evaluate", unlucky_once)
    monkeypatch.setattr("ppocli.evaluation.judge.GROWTH_BETWEEN_CHECKS", 4)
    folder = killed(SOLVED, tmp_path / "killed", 2)
    saved = newest_checkpoint(Run(folder))
    if not remembers:
        forget(folder, saved, "judge.next_check")
    last = checkpoint.load(resume(folder).checkpoint("last"))
    assert last.progress.solved_at_env_steps == 128 * solved_in


@pytest.mark.parametrize("field", ["iterations", "episodes", "solved_at_env_steps", "metrics_bytes", "episodes_bytes"])
def test_no_part_of_the_progress_can_be_left_out(field, tmp_path):
    expected = ending(whole(SOLVED, tmp_path / "whole"))
    folder = killed(SOLVED, tmp_path / "killed", 6)
    saved = checkpoint.load(Run(folder).checkpoint("last"))
    state = {part: saved.part(part) for part in ("agent", "optimizer", "rewards", "episodes", "judge")}
    Run(folder).checkpoint("previous").unlink()  # or what has forgotten its iterations would count as the older one
    forgetful = replace(saved.progress, **{field: getattr(Progress(), field)})
    assert forgetful != saved.progress
    checkpoint.save(Run(folder).checkpoint("last"), saved.config, forgetful, saved.versions, state)
    _, progress, tables = ending(resume(folder))
    assert (progress, tables) != expected[1:]


# ----------------------------------------------------------------------------------------------------------------------
# Environments


@pytest.fixture
def forgetful_killed(tmp_path):
    return killed(config_of(env={"id": "Moody-v0"}), tmp_path / "killed", 5)


@pytest.mark.filterwarnings("ignore:Moody-v0")
def test_an_environment_that_does_not_replay_is_named(forgetful_killed):
    with pytest.raises(
        ReplayError, match=r"environment \d does not replay: its episode with seed \d+.*--allow-inexact"
    ):
        resume(forgetful_killed)
    with (forgetful_killed / "metrics.csv").open() as file:
        assert len(file.readlines()) == 1 + 5  # nothing was truncated


@pytest.mark.filterwarnings("ignore:Moody-v0")
def test_allow_inexact_begins_new_episodes_and_says_so(forgetful_killed):
    run = resume(forgetful_killed, allow_inexact=True)
    assert [resumed.exact for resumed in run.info.resumed] == [False]
    metrics, episodes = logs(run)
    assert [int(row["iteration"]) for row in metrics] == list(range(1, 11))
    seeds = [row["seed"] for row in episodes]
    assert len(seeds) == len(set(seeds))  # none is played a second time


@pytest.mark.filterwarnings("ignore:Moody-v0")
def test_nothing_is_remembered_of_episodes_that_are_given_up(tmp_path):
    config = config_of(env={"id": "Moody-v0"}, network={"memory": {"size": 8}}, train={"env_steps": 768})
    folder = killed(config, tmp_path / "killed", 3)
    assert checkpoint.load(Run(folder).checkpoint("last")).part("memory")["states"].any()
    job = resume_job(Run(folder), Command(), allow_inexact=True)
    with closing(job.writer), closing(make_environments(config)) as envs:
        judge = Judge(config, envs.evaluation, first_solver_wins=False, should_stop=lambda: False)
        training, exact = build(job, envs.training, judge, lambda: 0.0)
    assert not exact
    assert not training.states.any()


def test_envpool_cannot_be_brought_back(tmp_path):
    pytest.importorskip("envpool")
    folder = killed(config_of(env={"backend": "envpool"}), tmp_path / "killed", 5)
    with pytest.raises(ReplayError, match=r"EnvPool's environments cannot be brought back.*--allow-inexact"):
        resume(folder)
    assert len(logs(resume(folder, allow_inexact=True))[0]) == 10


def test_replay_meets_the_same_observations_with_workers(tmp_path):
    config = TASKS["LunarLander"]
    folder = killed(config, tmp_path / "killed", 5)
    shared = config.model_copy(update={"env": config.env.model_copy(update={"workers": 2})})
    assert_same_ending(resume(folder, config=shared), whole(config, tmp_path / "whole"))


def test_episodes_of_other_environments_are_refused(tmp_path):
    folder = killed(config_of(), tmp_path / "killed", 5)
    run = Run(folder)
    saved = newest_checkpoint(run)
    state = {part: saved.part(part) for part in ("agent", "optimizer", "rewards", "episodes", "judge")}
    state["episodes"] = state["episodes"] | {"lengths": -state["episodes"]["lengths"]}
    checkpoint.save(run.checkpoint("last"), saved.config, saved.progress, saved.versions, state)
    with pytest.raises(CheckpointError, match="not those of such environments"):
        resume(folder)


# ----------------------------------------------------------------------------------------------------------------------
# What a run is resumed from, and with


def test_the_newest_whole_checkpoint_is_chosen_by_its_content(tmp_path):
    config = TASKS["CartPole"]
    folder = killed(config, tmp_path / "killed", 6)
    run = Run(folder)
    assert newest_checkpoint(run).progress.iterations == 6
    last, previous = run.checkpoint("last").read_bytes(), run.checkpoint("previous").read_bytes()
    run.checkpoint("last").write_bytes(last[:-1] + bytes([last[-1] ^ 1]))
    assert newest_checkpoint(run).progress.iterations == 4
    assert run.checkpoint("last").read_bytes() == previous  # what is broken does not push out what is whole
    run.checkpoint("previous").write_bytes(last)
    assert newest_checkpoint(run).progress.iterations == 6  # whatever it is called
    for name in ("last", "previous"):
        run.checkpoint(name).write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        newest_checkpoint(run)
    assert_same_ending(resume(killed(config, tmp_path / "again", 6)), whole(config, tmp_path / "whole"))


def test_more_env_steps_extend_a_finished_run(tmp_path):
    run = whole(TASKS["CartPole"], tmp_path / "run")
    before = logs(run)
    saved = newest_checkpoint(run)
    longer = resumed_config(run, saved, ["train.env_steps=2000"])
    resume(run.path, config=longer)
    after = logs(run)
    assert [table[: len(part)] for table, part in zip(after, before, strict=True)] == before
    assert int(after[0][-1]["env_steps"]) == 2048
    assert float(after[0][-1]["learning_rate"]) == pytest.approx(3e-4 / 16)
    assert Config.model_validate(longer) == resumed_config(run, newest_checkpoint(run), ())
    assert [fact.env_steps for fact in run.info.resumed] == [1280]
    assert run.first_config == saved.config
    assert (run.config, run.first_config.train.env_steps) == (longer, TASKS["CartPole"].train.env_steps)


def test_a_run_that_is_prolonged_says_which_values_jump_and_may_keep_them(tmp_path):
    run = whole(TASKS["CartPole"], tmp_path / "run")
    saved = newest_checkpoint(run)  # at the end of 10 iterations of 128 env steps, and of the schedule from 3e-4 to 0
    stretched = resumed_config(run, saved, ["train.env_steps=2000"])
    assert moved_schedules(saved, stretched) == [f"update.learning_rate from 0 to {3e-4 * (1 - 10 / 16):.3g}"]
    assert moved_schedules(saved, saved.config) == []
    held = resumed_config(run, saved, ["train.env_steps=2000", "train.schedule_env_steps=1280"])
    assert moved_schedules(saved, held) == []
    resume(run.path, config=held)
    rates = [float(row["learning_rate"]) for row in logs(run)[0]]
    assert rates[9:] == [pytest.approx(3e-5), *[0.0] * 6]


def test_with_another_target_a_run_is_to_solve_its_task_anew(tmp_path):
    train_keys = {"target_return": 6.0, "checkpoint_interval": 128, "env_steps": 1280}
    run = whole(config_of(env={"id": "Truncated-v0"}, train=train_keys), tmp_path / "run")
    assert run.info.solved is not None
    saved = newest_checkpoint(run)
    out_of_reach = resumed_config(run, saved, ["train.env_steps=2000", "train.target_return=1000"])
    resume(run.path, config=out_of_reach)
    assert (run.info.target_return, run.info.solved) == (1000, None)
    assert newest_checkpoint(run).progress.solved_at_env_steps is None
    easy = resumed_config(run, newest_checkpoint(run), ["train.env_steps=3000", "train.target_return=1"])
    resume(run.path, config=easy)
    assert run.info.target_return == 1
    assert run.info.solved.env_steps > 2000


def test_what_an_older_run_began_with_is_recorded_before_it_is_prolonged(tmp_path):
    run = whole(TASKS["CartPole"], tmp_path / "run")
    info = json.loads((run.path / "run.json").read_text())
    del info["began_with_env_steps"]
    (run.path / "run.json").write_text(json.dumps(info))
    for env_steps in (2000, 2500):
        resume(run.path, config=resumed_config(run, newest_checkpoint(run), [f"train.env_steps={env_steps}"]))
        assert run.config.train.env_steps == env_steps
        assert run.first_config == TASKS["CartPole"]


def test_a_solved_run_can_go_on_beyond(tmp_path):
    config = config_of(env={"id": "Truncated-v0"}, train={"target_return": 6.0, "checkpoint_interval": 128})
    run = whole(config, tmp_path / "run", stop_when_solved=True)
    saved = newest_checkpoint(run)
    assert stops_when_solved(run, saved, resumed_config(run, saved, ()))
    longer = resumed_config(run, saved, ["train.env_steps=2000"])
    assert not stops_when_solved(run, saved, longer)
    resume(run.path, config=longer, stop_when_solved=False)
    assert checkpoint.load(run.checkpoint("last")).progress.env_steps == 2048
    assert not stops_when_solved(run, saved, longer)


def test_fewer_env_steps_than_there_are_already_are_refused(tmp_path):
    run = whole(config_of(), tmp_path / "run")
    with pytest.raises(UsageError, match=r"env_steps: 100 are fewer than this run's 1,280 so far"):
        resumed_config(run, newest_checkpoint(run), ["train.env_steps=100"])


@pytest.mark.parametrize(
    ("override", "difference"),
    [
        ("env.num_envs=8", "env.num_envs: 4 → 8"),
        ("network.hidden_sizes=[9]", r"network.hidden_sizes: \[8\] → \[9\]"),
        ("env.id=Acrobot-v1", "env.id: CartPole-v1 → Acrobot-v1"),
        ("ppo.gamma=0.9", r"rollout.gamma: 0.995 → 0.9"),
        ("ppo.learning_rate=1", "update.learning_rate: {.*} → 1.0"),
    ],
)
def test_what_cannot_change_is_refused_with_the_difference(tmp_path, override, difference):
    run = whole(config_of(train={"env_steps": 128}), tmp_path / "run")
    with pytest.raises(UsageError, match=f"continues as it began.*{difference}"):
        resumed_config(run, newest_checkpoint(run), [override])


def test_an_edited_config_is_refused_too(tmp_path):
    run = whole(config_of(train={"env_steps": 128}), tmp_path / "run")
    path = run.path / "config.yaml"
    path.write_text(path.read_text().replace("num_envs: 4", "num_envs: 8"))
    with pytest.raises(UsageError, match=r"env.num_envs: 4 → 8"):
        resumed_config(run, newest_checkpoint(run), ())


def test_other_versions_are_named(tmp_path):
    saved = newest_checkpoint(whole(config_of(train={"env_steps": 128}), tmp_path / "run"))
    assert inexactness(saved) == []
    assert inexactness(replace(saved, versions=saved.versions | {"torch": "1.0"})) == [
        f"torch 1.0 → {saved.versions['torch']}"
    ]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not a training run"):
        resumed_config(Run(tmp_path), None, ())


def test_a_second_trainer_is_kept_out(tmp_path):
    iterations = train(config_of(), run := Run(tmp_path / "run"))
    next(iterations)
    with pytest.raises(RunError, match="another ppocli train is at work"):
        RunWriter(Run(run.path)).lock()
    iterations.close()
    RunWriter(Run(run.path)).lock()


def test_leftovers_of_a_crash_are_cleaned_up(tmp_path):
    folder = killed(config_of(), tmp_path / "killed", 5)
    snapshot = "snapshots/.000000099999.safetensors.0a1b2c3d.tmp"  # of one that has never got its name
    for name in (".config.yaml.0a1b2c3d.tmp", "checkpoints/.last.safetensors.0a1b2c3d.tmp", snapshot):
        (folder / name).write_bytes(b"half")
    resume(folder)
    assert not list(folder.rglob("*.tmp"))


def test_logs_that_have_lost_rows_are_refused(tmp_path):
    folder = killed(config_of(), tmp_path / "killed", 5)
    (folder / "metrics.csv").write_text("iteration\n")
    with pytest.raises(RunError, match=r"metrics.csv: 10 bytes, but the checkpoint counts on [\d,]+: some of its rows"):
        resume(folder)


# ----------------------------------------------------------------------------------------------------------------------
# Writes that fail


def fail_at(monkeypatch, name, number):
    """Let the `number`-th call of something that writes fail as on a full disk; return the list of calls so far."""
    calls = []
    owner, attribute = {
        "fsync": (os, "fsync"),
        "rename": (Path, "replace"),
        "log": (csv, "writer"),
        "write": (files, "write_whole"),
    }[name]
    original = getattr(owner, attribute)

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            raise OSError(28, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(owner, attribute, failing)
    return calls


FEW = config_of(
    train={
        "env_steps": 128 * 3,
        "checkpoint_interval": 128,
        "eval_interval": 256,
        "eval_episodes": 1,
        "snapshots": 2,
    }
)


@pytest.mark.parametrize("what", ["fsync", "rename", "log", "write"])
def test_any_write_may_fail_and_nothing_is_lost(what, tmp_path, monkeypatch):
    expected = whole(FEW, tmp_path / "whole")
    number, failures = 0, 0
    while True:
        number += 1
        run = Run(tmp_path / f"{what}-{number}")
        with monkeypatch.context() as patch:
            calls, unnamed = fail_at(patch, what, number), False
            try:
                list(train(FEW, run))
            except OSError as error:
                unnamed = error.filename is None
                failures += 1
            except RunError:  # which says itself what cannot be made
                failures += 1
        if len(calls) < number:
            break
        assert not unnamed  # so that the error line can say which file it is
        if run.exists:
            assert_same_ending(resume(run.path), expected)
    assert failures == number - 1 > 5
