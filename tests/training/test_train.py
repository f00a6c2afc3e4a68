"""The training loop: its logs, its checkpoints, when it evaluates, when it counts as solved, and that it repeats."""

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
import torch

import examples.catch  # noqa: F401 - registers CameraCatch-v0
from ppocli.algorithm.rollout import make_batch
from ppocli.algorithm.updates.ppo import PPO
from ppocli.config.models import Config
from ppocli.envs.make import NUM_EVAL_ENVS, evaluation_envs
from ppocli.errors import NonFiniteError, PpocliError, PpocliWarning, UsageError
from ppocli.evaluation.agents import load_agent
from ppocli.evaluation.play import evaluate, greedy
from ppocli.records import checkpoint
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.seeds import Purpose, evaluation_seeds, training_seeds
from ppocli.training import loop
from ppocli.training.job import Job
from tests.jobs import train, trained


def make_config(env=None, ppo=None, **settings):
    return Config.model_validate(
        {
            "env": {"id": "CartPole-v1", "num_envs": 4} | (env or {}),
            "network": {"hidden_sizes": [8]},
            "ppo": {"horizon": 32, "minibatch_size": 32, "update_epochs": 2} | (ppo or {}),
            "update": {"learning_rate": {"start": 3e-4, "end": 0}},
            "train": {"env_steps": 128 * 6, "eval_interval": 256, "eval_episodes": 3, "checkpoint_interval": 128}
            | settings,
        }
    )


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def without_times(table):
    return [{key: value for key, value in row.items() if not key.endswith(("seconds", "per_second"))} for row in table]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_a_device_that_is_not_there_leaves_nothing_open_and_nothing_behind(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr("ppocli.envs.cartpole.CartPoleVectorEnv.close", lambda envs: closed.append(envs.num_envs))
    config = make_config(device="cuda")
    with pytest.raises(PpocliError, match="cuda"):
        list(train(config, Run(tmp_path / "new")))
    assert sorted(closed) == [4, NUM_EVAL_ENVS]
    assert list(tmp_path.iterdir()) == []
    run, _ = trained(make_config(env_steps=128), tmp_path / "run")
    closed.clear()
    writer = RunWriter(run)
    writer.lock()
    saved = checkpoint.load(run.checkpoint("last"))
    job = Job(config, writer, resumes=True, saved=saved)
    with pytest.raises(PpocliError, match="cuda"):
        list(loop.train(job))
    assert (sorted(closed), run.is_locked) == ([4, NUM_EVAL_ENVS], False)


def test_only_what_a_resumed_run_continues_from_counts_as_saved(tmp_path):
    run = Run(tmp_path / "run")
    training = train(make_config(checkpoint_interval=10_000, eval_interval=128), run)
    iteration = next(training)
    assert (iteration.verdict.is_best, iteration.saved) == (True, False)
    assert [run.checkpoint(name).exists() for name in ("best", "last")] == [True, False]
    training.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_infos_that_were_asked_for_are_logged(tmp_path, workers):
    env = {"id": "Informed-v0", "num_envs": 4, "workers": workers, "info_keys": ["is_success", "height", "name"]}
    run, _ = trained(make_config(env=env, env_steps=128), tmp_path / "run")
    episodes, (metrics,) = rows(run.path / "episodes.csv"), rows(run.path / "metrics.csv")
    assert {(row["info.is_success"], row["info.height"], row["info.name"]) for row in episodes} == {("1.0", "2.5", "")}
    assert metrics["success_rate"] == "1.0"


def test_logs_are_what_happened(tmp_path):
    config = make_config()
    run, iterations = trained(config, tmp_path / "run")
    metrics, episodes = rows(run.path / "metrics.csv"), rows(run.path / "episodes.csv")
    assert [int(row["iteration"]) for row in metrics] == [1, 2, 3, 4, 5, 6]
    assert [int(row["env_steps"]) for row in metrics] == [128 * iteration for iteration in range(1, 7)]
    assert sum(int(row["episodes"]) for row in metrics) == len(episodes) == iterations[-1].progress.episodes > 10
    assert [int(row["episode"]) for row in episodes] == list(range(1, len(episodes) + 1))
    # every row's mean is that of the episodes that ended in its iteration
    for before, row in pairwise([{"env_steps": 0}, *metrics]):
        returns = [
            float(episode["episode_return"])
            for episode in episodes
            if int(before["env_steps"]) < int(episode["env_steps"]) <= int(row["env_steps"])
        ]
        assert float(row["return_mean"]) == pytest.approx(np.mean(returns))
        assert (float(row["return_min"]), float(row["return_max"])) == (min(returns), max(returns))
    # CartPole pays 1 a step, and an episode's seed follows from the run's seed, the environment and its number
    assert all(float(episode["episode_return"]) == int(episode["episode_length"]) for episode in episodes)
    for environment in range(4):
        seeds = [int(e["seed"]) for e in episodes if int(e["environment"]) == environment]
        assert seeds == [training_seeds(0)(environment, number) for number in range(len(seeds))]
    seconds = [float(row["seconds"]) for row in metrics]
    assert seconds == sorted(seconds)
    assert all(float(row["rollout_seconds"]) > 0 and float(row["update_seconds"]) > 0 for row in metrics)
    assert iterations[-1].metrics.learning_rate == pytest.approx(3e-4 / 6)


def test_same_seed_same_run(tmp_path):
    one = trained(make_config(seed=5), tmp_path / "a")[0]
    torch.rand(3), np.random.random(3)  # global generators have no say
    other = trained(make_config(seed=5), tmp_path / "b")[0]
    different = trained(make_config(seed=6), tmp_path / "c")[0]
    for name in ("metrics.csv", "episodes.csv"):
        assert without_times(rows(one.path / name)) == without_times(rows(other.path / name))
        assert without_times(rows(one.path / name)) != without_times(rows(different.path / name))
    weights = [checkpoint.load(run.checkpoint("last")).part("agent") for run in (one, other)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_evaluations_choose_the_best(tmp_path):
    run, iterations = trained(make_config(), tmp_path / "run")
    evaluations = {r.metrics.iteration: r.metrics.eval_return_mean for r in iterations if r.metrics.eval_return_mean}
    assert list(evaluations) == [2, 4, 6]  # every 256 of 768 env steps
    assert iterations[-1].progress.best_return == max(evaluations.values())
    best = checkpoint.load(run.checkpoint("best"))
    assert evaluations[best.progress.iterations] == best.progress.best_return == max(evaluations.values())
    seeds = evaluation_seeds(0, Purpose.PERIODIC_EVALUATION, 3)
    again = evaluate(
        evaluation_envs(best.config.env), greedy(load_agent(best, evaluation_envs(best.config.env))), seeds
    )
    assert np.mean([episode.episode_return for episode in again]) == best.progress.best_return


def test_the_end_is_evaluated_even_between_intervals(tmp_path):
    _, iterations = trained(make_config(env_steps=128 * 3), tmp_path / "run")
    assert [r.metrics.iteration for r in iterations if r.metrics.eval_return_mean is not None] == [2, 3]


def test_a_run_whose_directory_is_taken_is_another_one(tmp_path):
    """Two trainings of one seed may begin in the same second."""
    first, second = (trained(make_config(), tmp_path / "now-seed0")[0] for _ in range(2))
    assert (first.path.name, second.path.name) == ("now-seed0", "now-seed0-2")
    assert rows(first.path / "episodes.csv") != []
    assert without_times(rows(first.path / "metrics.csv")) == without_times(rows(second.path / "metrics.csv"))


def test_last_and_previous(tmp_path):
    run, _ = trained(make_config(), tmp_path / "run")
    iterations = {
        name: checkpoint.load(run.checkpoint(name)).progress.iterations for name in ("last", "previous", "best")
    }
    assert iterations["last"] == 6
    assert iterations["previous"] == 5
    assert {path.name for path in (run.path / "checkpoints").iterdir()} == {
        "last.safetensors",
        "previous.safetensors",
        "best.safetensors",
    }


def test_a_save_that_fails_leaves_last_as_it_was(tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    iterations = train(make_config(eval_interval=10_000), run)
    next(iterations)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ppocli.records.checkpoint.write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        next(iterations)
    assert checkpoint.load(run.checkpoint("last")).progress.iterations == 1


def test_results_do_not_depend_on_the_checkpoint_interval(tmp_path):
    often, rarely = (
        trained(make_config(checkpoint_interval=interval), tmp_path / str(interval))[0] for interval in (128, 10_000)
    )
    assert without_times(rows(often.path / "metrics.csv")) == without_times(rows(rarely.path / "metrics.csv"))


def test_closed_early_it_keeps_what_it_has(tmp_path):
    run = Run(tmp_path / "run")
    iterations = train(make_config(checkpoint_interval=10_000), run)
    assert [iteration.metrics.iteration for iteration in islice(iterations, 3)] == [1, 2, 3]
    assert not run.checkpoint("last").exists()
    iterations.close()
    assert checkpoint.load(run.checkpoint("last")).progress.iterations == 3
    assert len(rows(run.path / "metrics.csv")) == 3


def solving(**settings):
    """Truncated-v0 gives every policy a return of 6, so that nothing but the target says when it is solved."""
    return make_config(
        env={"id": "Truncated-v0"},
        ppo={"horizon": 8, "minibatch_size": 32},
        **({"env_steps": 32 * 12, "eval_interval": 10_000, "target_return": 6.0} | settings),
    )


def test_solved_is_asked_once_20_episodes_average_the_target(tmp_path):
    # 4 environments × 8 steps end 8 episodes of 3 steps in the first iteration, and 20 by the next
    _, iterations = trained(solving(), tmp_path / "run")
    assert [r.progress.solved_at_env_steps for r in iterations[:3]] == [None, 64, 64]
    assert len(iterations) == 12
    assert iterations[1].progress.solved_at_seconds == iterations[-1].progress.solved_at_seconds > 0


def test_stop_when_solved_makes_that_agent_the_best(tmp_path):
    run, iterations = trained(solving(eval_interval=32), tmp_path / "run", stop_when_solved=True)
    assert len(iterations) == 2
    for name in ("best", "last"):
        assert checkpoint.load(run.checkpoint(name)).progress.iterations == 2
    assert iterations[-1].progress.best_return == 6.0


def test_a_target_out_of_reach_is_not_solved(tmp_path):
    run, iterations = trained(solving(target_return=6.5), tmp_path / "run", stop_when_solved=True)
    assert len(iterations) == 12
    assert iterations[-1].progress.solved_at_env_steps is None
    assert run.checkpoint("best").exists()


def test_a_failed_check_is_not_repeated_until_training_is_a_tenth_longer_and_the_end_is_always_checked(
    tmp_path, monkeypatch
):
    asked = []

    def unlucky(envs, policy, seeds):
        """Play as asked, but below the target that training itself reaches."""
        asked.append(len(seeds))
        return [replace(episode, episode_return=5.0) for episode in evaluate(envs, policy, seeds)]

    monkeypatch.setattr("ppocli.evaluation.judge.evaluate", unlucky)
    asked_after = []
    iterations = train(solving(eval_episodes=7), Run(tmp_path / "run"))
    for iteration in iterations:  # noqa: B007 - the last one is looked at below
        asked_after.append(list(asked))
    # after each iteration from the second to the eleventh, then not before the 13th; but the 12th is the end, which is
    # also evaluated with 7
    expected = [[], *([20] * checks for checks in range(1, 11)), [20] * 11 + [7]]
    assert asked_after == expected
    assert iteration.progress.solved_at_env_steps is None


def test_workers_change_nothing_but_the_times(tmp_path):
    tables = []
    for workers in (0, 1, 3):
        config = make_config(env={"id": "LunarLander-v3", "workers": workers})
        run, _ = trained(config, tmp_path / str(workers))
        tables.append([without_times(rows(run.path / f"{name}.csv")) for name in ("metrics", "episodes")])
    assert tables[0] == tables[1] == tables[2]


def test_envpool_trains_and_repeats_itself(tmp_path):
    pytest.importorskip("envpool")
    tables = []
    for name in ("once", "again"):
        run, _ = trained(make_config(env={"backend": "envpool"}), tmp_path / name)
        tables.append([without_times(rows(run.path / f"{name}.csv")) for name in ("metrics", "episodes")])
    assert tables[0] == tables[1]
    assert len(tables[0][1]) > 10


def test_an_id_without_a_version_means_the_newest(tmp_path):
    _, iterations = trained(make_config(env={"id": "CartPole"}), tmp_path / "run")
    assert iterations[-1].verdict.target == 475


def test_without_a_target_nothing_is_solved(tmp_path):
    _, iterations = trained(make_config(env={"id": "Counting-v0"}), tmp_path / "run")
    assert iterations[-1].verdict.target is None
    assert iterations[-1].progress.solved_at_env_steps is None


def test_numbers_that_are_not_finite_stop_it_and_no_such_checkpoint_is_written(tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(NonFiniteError, match="no longer a finite number"):
        list(train(make_config(env={"id": "Exploding-v0"}, ppo={"gamma": 1.0, "normalize_rewards": False}), run))
    assert not list((run.path / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("how", "field", "step", "value"),
    [
        ("observation", "observation", 2, r"\[2.0, inf\]"),
        ("first observation", "observation", 0, r"\[nan, nan\]"),
        ("reward", "reward", 2, "nan"),
        ("large reward", "reward", 2, r"-1e\+39"),  # beyond what a float32 can hold
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_an_environment_whose_numbers_are_not_finite_is_named(tmp_path, how, field, step, value, workers):
    run = Run(tmp_path / "run")
    config = make_config(env={"id": "Broken-v0", "kwargs": {"how": how}, "workers": workers})
    seed = training_seeds(0)(0, 0)
    why = "beyond 3.4e" if how == "large reward" else "not a finite number"
    message = f"Broken-v0: its {field} in step {step} of the episode with seed {seed} is {value}: {why}"
    with pytest.raises(NonFiniteError, match=message):
        list(train(config, run))
    assert not list(run.path.glob("checkpoints/*"))


def test_large_numbers_are_not_taken_for_endless_ones(tmp_path):
    """Their squares are beyond a float32, they themselves are not."""
    config = make_config(env={"id": "Broken-v0", "kwargs": {"how": "large observation"}}, env_steps=128)
    _, iterations = trained(config, tmp_path / "run")
    assert len(iterations) == 1


def test_an_environment_that_fails_says_how_to_come_to_that_point_again(tmp_path):
    config = make_config(env={"id": "Broken-v0", "kwargs": {"how": "error"}, "workers": 0})
    place = f"on fire .*in step 2 of its episode with seed {training_seeds(0)(0, 0)}$"
    with pytest.raises(PpocliError, match=place):
        list(train(config, Run(tmp_path / "run")))


@pytest.mark.parametrize(
    ("env_id", "error"), [("LunarLander-v2", UsageError), ("Speaking-v0", UsageError), ("Unbuilt-v0", PpocliError)]
)
def test_what_cannot_be_trained_leaves_nothing_behind(tmp_path, env_id, error):
    with pytest.raises(error):
        next(train(make_config(env={"id": env_id}), Run(tmp_path / "run")))
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_missing_is_named(tmp_path):
    device = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(PpocliError, match=f"train.device: {device}"):
        next(train(make_config(device=device), Run(tmp_path / "run")))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_vanishes_is_an_os_error(tmp_path):
    iterations = train(make_config(), run := Run(tmp_path / "run"))
    next(iterations)
    shutil.rmtree(run.path)
    with pytest.raises(OSError, match="No such file"):
        list(iterations)


WALKING = {
    "env": {"id": "LunarLanderContinuous-v3", "num_envs": 4},
    "network": {"hidden_sizes": [8], "normalize_obs": True},
    "ppo": {"horizon": 64, "minibatch_size": 64, "update_epochs": 2, "normalize_rewards": True},
    "train": {"env_steps": 256 * 4, "eval_interval": 256 * 3, "eval_episodes": 3, "checkpoint_interval": 256},
}


def test_a_checkpoint_taken_in_the_middle_evaluates_the_same_in_another_process(tmp_path):
    """Its statistics are those of the moment, and evaluating does not move them."""
    iterations = train(Config.model_validate(WALKING), run := Run(tmp_path / "run"))
    played = [iteration.metrics.eval_return_mean for iteration in islice(iterations, 3)][-1]
    path = run.checkpoint("best")
    code = (
        "import sys; from pathlib import Path; import torch; from ppocli.records import checkpoint\n"
        "from ppocli.evaluation.agents import load_agent; from ppocli.envs.make import evaluation_envs\n"
        "from ppocli.evaluation.play import evaluate, greedy; from ppocli.seeds import Purpose, evaluation_seeds\n"
        "torch.set_num_threads(1); saved = checkpoint.load(Path(sys.argv[1]))\n"
        "config = saved.config.env.model_copy(update={'workers': 0}); envs = evaluation_envs(config)\n"
        "seeds = evaluation_seeds(0, Purpose.PERIODIC_EVALUATION, 3); policy = greedy(load_agent(saved, envs))\n"
        "evaluate(envs, policy, seeds)\n"
        "print(sum(e.episode_return for e in evaluate(envs, policy, seeds)) / 3)\n"
    )
    again = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout
    assert float(again) == pytest.approx(played, abs=1e-9)
    saved = checkpoint.load(path).part("agent")
    assert saved["normalizer.statistics.count"] == 3 * 256
    iterations.close()
    assert all(np.array_equal(tensor, saved[name]) for name, tensor in checkpoint.load(path).part("agent").items())


def test_observations_count_once_the_update_is_over(tmp_path, monkeypatch):
    """All that an iteration computes, it computes with the statistics that acted."""
    counts = []

    def counting(self, batch, done, rng):
        counts.append(float(self.agent.normalizer.statistics.count))
        return original(self, batch, done, rng)

    original = PPO.update
    monkeypatch.setattr(PPO, "update", counting)
    list(train(Config.model_validate(WALKING), Run(tmp_path / "run")))
    assert counts == [0, 256, 512, 768]


def test_rewards_are_scaled_for_learning_and_reported_raw(tmp_path, monkeypatch):
    scales = []

    def looking(rollout, agent, gamma, gae_lambda, reward_scale, **options):
        scales.append(reward_scale)
        return make_batch(rollout, agent, gamma, gae_lambda, reward_scale, **options)

    monkeypatch.setattr("ppocli.training.state.make_batch", looking)
    config = make_config(env={"id": "Truncated-v0"}, ppo={"gamma": 1.0, "normalize_rewards": True, "reward_scale": 2})
    _, iterations = trained(config, tmp_path / "run")
    # undiscounted, an episode's returns so far are 1, 3 and 6, over and over
    assert scales[-1] == pytest.approx(2 / np.std([1, 3, 6]), rel=0.01)
    assert iterations[-1].metrics.return_mean == 6
    saved = checkpoint.load(tmp_path / "run" / "checkpoints" / "last.safetensors").part("rewards")
    assert saved["count"] == 128 * 6
    assert saved["returns"].shape == (4,)


def test_when_a_run_has_solved_its_task_its_run_json_says_so(tmp_path):
    config = Config.model_validate(
        {
            "env": {"id": "CartPole-v1", "num_envs": 2},
            "network": {"hidden_sizes": [4]},
            "ppo": {"horizon": 16, "minibatch_size": 16},
            "train": {"env_steps": 64, "eval_episodes": 1, "target_return": 1.0},
        }
    )
    run = Run(tmp_path / "run")
    *_, last = train(config, run)
    solved = run.info.solved
    assert (solved.env_steps, solved.seconds) == (last.progress.solved_at_env_steps, last.progress.solved_at_seconds)
    assert solved.return_mean >= 1.0


def test_a_rollout_that_does_not_fit_is_refused_with_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("ppocli.training.setup._physical_memory", lambda: 600_000)
    config = make_config(env={"id": "CameraCatch-v0"})
    # (32 + 1) steps of 4 environments, each of 1,600 bytes and a float32 number, three times
    said = r"32 × 4 observations of 1,604 bytes \(picture of 1 × 40 × 40, 1 number\) take 0.0 GB.* has 0.0 GB; collect"
    with pytest.raises(UsageError, match=said):
        list(train(config, Run(tmp_path / "run")))
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("ppocli.training.setup._physical_memory", lambda: 3 * 33 * 4 * 1604)
    run, _ = trained(config, tmp_path / "run")
    assert run.info.observations == "picture of 1 × 40 × 40, 1 number"


def test_what_looks_the_same_to_an_older_run_stays_flat(tmp_path):
    config = make_config(env={"id": "CameraCatch-v0", "kwargs": {"sees": "camera"}, "pictures": False})
    with pytest.warns(PpocliWarning, match="flattened into 1600 numbers"):
        run, _ = trained(config, tmp_path / "run")
    assert run.info.observations == "1600 numbers"
    stored = run.path / "config.yaml"
    stored.write_text(stored.read_text().replace("  pictures: false\n", ""))  # as an earlier version wrote it
    assert not run.config.env.pictures
