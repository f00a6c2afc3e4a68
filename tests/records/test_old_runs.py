"""Runs of version 0.1, as they lie on disks: everything reads them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ppocli import __version__
from ppocli.config.values import Schedule
from ppocli.envs.make import evaluation_envs
from ppocli.evaluation.agents import load_agent
from ppocli.evaluation.curves import Axis, Statistic, band, groups, without_repeats
from ppocli.evaluation.results import baseline_returns, evaluate_checkpoint, evaluation_of
from ppocli.records import checkpoint
from ppocli.records.catalog import all_runs, find_checkpoint, find_run, summarize_run
from ppocli.records.info import RunInfo
from ppocli.records.kept import read_baseline, read_evaluation
from ppocli.records.writer import RunWriter
from ppocli.training.setup import inexactness

CARTPOLE, PENDULUM = "20261126T031545Z-seed3-small", "20261126T031611Z-seed0"


@pytest.fixture(autouse=True)
def no_workers(monkeypatch):
    """Which would only take time to start."""
    monkeypatch.setattr("ppocli.envs.make.usable_cores", lambda: 1)


@pytest.fixture
def runs_dir(tmp_path):
    return shutil.copytree(Path(__file__).parents[1] / "data" / "old_runs", tmp_path / "runs")


@pytest.fixture
def cartpole(runs_dir):
    return find_run(f"CartPole-v1/{CARTPOLE}", runs_dir)


@pytest.fixture
def pendulum(runs_dir):
    return find_run(f"Pendulum-v1/{PENDULUM}", runs_dir)


@pytest.fixture(params=["cartpole", "pendulum"])
def run(request):
    return request.getfixturevalue(request.param)


def test_they_are_found(runs_dir, cartpole, pendulum):
    assert [run.path for run in all_runs(runs_dir)] == [cartpole.path, pendulum.path]
    assert find_run("latest", runs_dir).path == pendulum.path
    assert find_checkpoint("CartPole", runs_dir)[0] == cartpole.checkpoint("best")


def test_how_they_stand(cartpole, pendulum):
    summary = summarize_run(cartpole)
    assert (summary.env_id, summary.name, summary.seed, summary.state) == ("CartPole-v1", "small", 3, "finished")
    assert (summary.env_steps, summary.total_env_steps, summary.best_return) == (2048, 2048, 9.4)
    assert (summary.solved, summary.solved_at_env_steps) == (True, 2048)
    summary = summarize_run(pendulum)
    assert (summary.env_id, summary.name, summary.seed, summary.state) == ("Pendulum-v1", None, 0, "finished")
    assert (summary.env_steps, summary.total_env_steps, summary.best_return) == (3072, 3072, -1223.7329097329825)
    assert (summary.solved, summary.solved_at_env_steps) == (False, None)


def test_their_configs(cartpole, pendulum):
    config = cartpole.config
    assert (config.algorithm, config.env.num_envs, config.network.hidden_sizes) == ("ppo", 8, (8,))
    assert (config.rollout.horizon, config.rollout.gae_lambda, config.rollout.reward_scale) == (32, 0.98, 0.01)
    assert (config.update.minibatch_size, config.update.update_epochs, config.update.ent_coef) == (128, 4, 0.003)
    assert config.update.learning_rate == Schedule(start=0.0066, end=0)
    config = pendulum.config
    assert (config.rollout.gamma, config.rollout.normalize_rewards) == (0.9, True)
    assert (config.update.ent_coef, config.update.max_grad_norm) == (0.001, None)
    assert (config.ppo.clip_coef, config.ppo.clip_vloss, config.ppo.target_kl) == (0.2, True, 0.05)


def test_a_config_is_written_as_it_would_be_today_and_means_the_same(run):
    config = run.config
    assert "\nppo:\n  horizon:" in (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(config.to_yaml())
    assert "\nrollout:\n  horizon:" in (run.path / "config.yaml").read_text()
    assert run.config == config


def test_what_is_said_of_them(cartpole, pendulum):
    info = cartpole.info
    assert (info.config_name, info.name, info.target_return, info.stop_when_solved) == ("cartpole", "small", 9.0, False)
    assert info.overrides[:3] == ["env.num_envs=8", "ppo.horizon=32", "ppo.minibatch_size=128"]
    assert len(info.overrides) == 8
    assert (info.solved.env_steps, info.solved.return_mean, info.resumed) == (2048, 9.29, [])
    info = pendulum.info
    assert (info.config_name, info.overrides) == ("pend", ["ppo.ent_coef=1e-3"])
    (resumed,) = info.resumed
    assert (resumed.config_name, resumed.overrides, resumed.env_steps) == ("", ["train.env_steps=3000"], 2048)
    assert resumed.exact
    assert resumed.changed_something


@pytest.mark.parametrize(
    ("command", "exact", "changed"),
    [
        (["ppocli", "train", "--resume", "latest"], True, False),
        (["ppocli", "train", "--resume", "latest", "--allow-inexact"], False, True),
        (["ppocli", "train", "--resume", "latest", "--set=train.env_steps=3000"], True, True),
    ],
)
def test_whether_an_interruption_changed_something_is_in_the_recorded_words(pendulum, command, exact, changed):
    path = pendulum.path / "run.json"
    info = json.loads(path.read_text())
    info["resumed"][0] |= {"command": command, "exact": exact}
    path.write_text(json.dumps(info))
    assert pendulum.info.resumed[0].changed_something is changed


def test_what_is_said_of_them_stays_when_it_is_written_anew(run):
    before = run.info
    RunWriter(run).record(error="none")
    assert run.info == before.model_copy(update={"error": "none"})
    written = json.loads((run.path / "run.json").read_text())
    assert (written["config_name"], written["overrides"]) == (before.config_name, before.overrides)
    assert RunInfo.model_validate(written) == run.info


def test_their_logs(cartpole, pendulum):
    metrics, episodes = cartpole.metrics(), cartpole.episodes()
    assert [row.env_steps for row in metrics] == list(range(256, 2049, 256))
    assert (metrics[-1].learning_rate, metrics[-1].eval_return_mean) == (0.000825, 9.4)
    assert (len(episodes), episodes[-1].seed, episodes[-1].episode_return) == (86, 238196903, 11.0)
    metrics, episodes = pendulum.metrics(), pendulum.episodes()
    assert [row.iteration for row in metrics] == list(range(1, 13))
    assert (metrics[0].return_mean, metrics[3].return_mean) == (None, -1190.0525425432481)
    assert (len(episodes), episodes[-1].truncated) == (12, True)


@pytest.mark.parametrize(
    ("fixture", "name", "iterations"),
    [
        *(("cartpole", "last", 8), ("cartpole", "best", 8)),
        *(("pendulum", "last", 12), ("pendulum", "best", 12), ("pendulum", "previous", 10)),
    ],
)
def test_their_checkpoints(request, fixture, name, iterations):
    run = request.getfixturevalue(fixture)
    saved = checkpoint.load(run.checkpoint(name))
    assert (saved.config, saved.versions["ppocli"]) == (run.config, "0.1.0")
    assert f"ppocli 0.1.0 → {__version__}" in inexactness(saved)  # whose results came out differently
    assert (saved.progress.iterations, saved.progress.env_steps) == (iterations, 256 * iterations)
    assert saved.progress.metrics_bytes <= (run.path / "metrics.csv").stat().st_size
    parts = {name.partition(".")[0] for name in saved.arrays}
    assert parts == {"agent", "optimizer", "rewards", "judge", "episodes"}
    assert saved.part("episodes")["env_steps"] == saved.progress.env_steps
    agent = load_agent(saved, evaluation_envs(run.config.env))
    assert all(np.array_equal(tensor, saved.part("agent")[key]) for key, tensor in agent.state_dict().items())
    if fixture == "pendulum":
        assert agent.normalizer.statistics.count == saved.progress.env_steps


def test_their_evaluations(cartpole, pendulum):
    kept = read_evaluation(cartpole.evaluation)
    assert (kept.deterministic, kept.checkpoint_env_steps, len(kept.episode_returns)) == (True, 2048, 100)
    assert (kept.episode_seeds[0], np.mean(kept.episode_returns)) == (2040633475, 9.41)
    assert evaluation_of(cartpole) == kept
    assert read_evaluation(pendulum.evaluation) is None


def test_their_baselines(cartpole, pendulum):
    returns = read_baseline(cartpole.baseline, cartpole.config.env)
    assert (len(returns), np.mean(returns)) == (100, 21.05)
    assert baseline_returns(cartpole.config, cartpole.baseline) == returns
    assert read_baseline(pendulum.baseline, pendulum.config.env) is None


def test_their_agents_are_evaluated_again(cartpole, pendulum):
    kept = read_evaluation(cartpole.evaluation)
    result = evaluate_checkpoint(checkpoint.load(cartpole.checkpoint("best")), cartpole)
    again = read_evaluation(cartpole.evaluation)
    assert (result.env_id, result.episodes, result.target_return) == ("CartPole-v1", 100, 9.0)
    assert again.episode_seeds == kept.episode_seeds
    assert again.random_episode_returns == kept.random_episode_returns
    assert result.return_mean == pytest.approx(9.41, abs=0.5)  # on another processor the last bits may differ
    result = evaluate_checkpoint(checkpoint.load(pendulum.checkpoint("best")), pendulum, num_episodes=2)
    assert (result.env_id, result.episodes, result.checkpoint_env_steps) == ("Pendulum-v1", 2, 3072)
    assert -2000 < result.return_min <= result.return_max < 0
    assert result.random_baseline.return_mean < 0
    assert len(read_evaluation(pendulum.evaluation).episode_returns) == 2


def test_their_curves(cartpole, pendulum):
    runs, repeats = without_repeats([cartpole, pendulum])
    assert (runs, repeats) == ([cartpole, pendulum], [])
    found = groups(runs)
    assert [(group.env_id, group.label, group.target) for group in found] == [
        ("CartPole-v1", "small", 9.0),  # its --name
        ("Pendulum-v1", "", -100.0),
    ]
    assert (cartpole.first_config, pendulum.first_config) == (cartpole.config, pendulum.config)  # nothing is recorded
    curve = band([cartpole], Axis.ENV_STEPS, Statistic.MEAN)
    assert curve.x[-1] == 2040
    returns = [episode.episode_return for episode in cartpole.episodes()]
    assert curve.center[-1] == pytest.approx(np.mean(returns))
