"""What is found out about agents and the random policy is found out once, and belongs to what it is about."""

import json
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.evaluation import results
from ppocli.evaluation.results import baseline_returns, evaluate_checkpoint, evaluation_of, make_baseline
from ppocli.records import checkpoint
from ppocli.records.kept import read_baseline
from ppocli.seeds import Purpose, evaluation_seeds
from tests.jobs import trained

CONFIG = Config.model_validate(
    {
        "env": {"id": "CartPole-v1", "num_envs": 2},
        "network": {"hidden_sizes": [4]},
        "rollout": {"horizon": 16},
        "update": {"minibatch_size": 16},
        "train": {"env_steps": 64, "eval_episodes": 1},
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(CONFIG, tmp_path_factory.mktemp("runs") / "run")[0]


def test_an_evaluation_stays_with_the_run_until_its_agent_is_another(run, monkeypatch):
    run.evaluation.unlink(missing_ok=True)
    first = evaluation_of(run)
    assert first.deterministic
    assert len(first.episode_returns) == len(first.random_episode_returns) == len(set(first.episode_seeds)) == 100
    played = []
    monkeypatch.setattr(results, "_evaluate", lambda saved, *_, **__: played.append(saved.path))
    assert evaluation_of(run) == first
    assert played == []
    stored = json.loads(run.evaluation.read_text())
    of_others = {"checkpoint_env_steps": 32}, {"deterministic": False}, {"episode_returns": [1.0] * 99}
    for change in (*of_others, {"episode_seeds": None}, {"checkpoint_digest": "0" * 64}):
        run.evaluation.write_text(json.dumps(stored | change))
        with suppress(TypeError):  # nothing is played in place of the real thing
            evaluation_of(run)
        assert played.pop() == run.checkpoint("best")
        assert played == []


def test_the_statistics_are_those_of_the_episodes(run):
    result = evaluate_checkpoint(checkpoint.load(run.checkpoint("best")), run, num_episodes=10)
    stored = json.loads(run.evaluation.read_text())
    assert sum(stored["episode_returns"]) / 10 == pytest.approx(result.return_mean)
    assert sum(stored["episode_lengths"]) / 10 == pytest.approx(result.length_mean)
    assert sum(stored["random_episode_returns"]) / 10 == pytest.approx(result.random_baseline.return_mean)
    assert len(stored["episode_seeds"]) == 10
    assert stored["episode_seeds"] == evaluation_of(run).episode_seeds[:10]
    assert (result.deterministic, result.random_baseline.deterministic) == (True, False)
    assert (result.checkpoint, result.checkpoint_env_steps) == (run.checkpoint("best").absolute(), 64)


def test_the_file_holds_the_result_and_each_episode(run):
    result = evaluate_checkpoint(checkpoint.load(run.checkpoint("best")), run, num_episodes=3, seed=5, sampled=True)
    stored = json.loads(run.evaluation.read_text())
    lists = {"episode_seeds", "episode_returns", "episode_lengths", "random_episode_returns"}
    assert stored.keys() == vars(result).keys() | lists | {"checkpoint_digest"}
    assert all(len(stored[name]) == 3 for name in lists)
    assert stored["episode_seeds"] == evaluation_seeds(5, Purpose.EVALUATION, 3)
    assert stored["checkpoint"] == str(result.checkpoint)
    assert stored["return_iqm_ci95"] == list(result.return_iqm_ci95)
    assert (stored["seed"], stored["deterministic"], stored["random_baseline"]["seed"]) == (5, False, 5)


def test_the_greedy_policy_is_compared_with_the_training_before(run):
    """Its checkpoint knows the last returns of training; here they are better than a moment of training is."""
    saved = checkpoint.load(run.checkpoint("best"))
    good = replace(saved, arrays=saved.arrays | {"judge.recent_returns": np.full(100, 450.0)})
    result = evaluate_checkpoint(good, run, num_episodes=10)
    assert result.greedy_shortfall == pytest.approx(450 - result.return_mean)
    assert json.loads(run.evaluation.read_text())["greedy_shortfall"] == result.greedy_shortfall
    assert evaluate_checkpoint(good, None, num_episodes=10, sampled=True).greedy_shortfall is None
    bad = replace(saved, arrays=saved.arrays | {"judge.recent_returns": np.full((1, 100), -450.0)})
    assert evaluate_checkpoint(bad, None, num_episodes=10).greedy_shortfall is None
    others = {name: values for name, values in saved.arrays.items() if not name.startswith("judge.")}
    assert evaluate_checkpoint(replace(saved, arrays=others), None, num_episodes=10).greedy_shortfall is None


def test_the_training_before_is_that_of_the_episodes_logged_until_then(run):
    saved = checkpoint.load(run.checkpoint("best"))
    logged = [one.episode_return for one in run.episodes() if one.env_steps <= saved.progress.env_steps]
    assert saved.part("judge")["recent_returns"].tolist() == logged[-100:]
    assert logged


def test_a_checkpoint_without_a_run_is_evaluated_and_nothing_is_kept(run):
    run.evaluation.unlink(missing_ok=True)
    saved = checkpoint.load(run.checkpoint("best"))
    assert evaluate_checkpoint(saved, None, num_episodes=2) == evaluate_checkpoint(saved, None, num_episodes=2)
    assert not run.evaluation.exists()


def test_a_baseline_is_made_once(tmp_path, monkeypatch):
    folder = tmp_path / "random-baseline"
    assert read_baseline(folder, CONFIG.env) is None
    returns = baseline_returns(CONFIG, folder)
    assert len(returns) == 100
    assert json.loads((folder / "evaluation.json").read_text())["episode_returns"] == returns
    result = make_baseline(CONFIG, folder, num_episodes=3)
    assert (result.episodes, result.run_dir, result.target_return) == (3, folder, 475)
    assert (result.seed, result.deterministic) == (0, False)
    monkeypatch.setattr(results, "_play", None)  # nothing is played again
    assert baseline_returns(CONFIG, folder) == read_baseline(folder, CONFIG.env) == returns[:3]


def test_a_baseline_with_other_arguments_is_neither_taken_nor_replaced(tmp_path):
    folder = tmp_path / "random-baseline"
    other = CONFIG.model_copy(update={"env": CONFIG.env.model_copy(update={"kwargs": {"sutton_barto_reward": True}})})
    make_baseline(other, folder, num_episodes=3)
    assert read_baseline(folder, CONFIG.env) is None
    assert len(baseline_returns(CONFIG, folder)) == 100
    assert len(read_baseline(folder, other.env)) == 3


def test_a_baseline_is_of_a_task_with_its_limit_and_of_actions_with_masks_or_without(tmp_path):
    taxi = Config.model_validate({"env": {"id": "Taxi-v4", "max_episode_steps": 20}})
    result = make_baseline(taxi, tmp_path, num_episodes=3)
    assert result.masks_actions
    assert len(read_baseline(tmp_path, taxi.env, masks_actions=True)) == 3
    assert read_baseline(tmp_path, taxi.env) is None
    assert read_baseline(tmp_path, EnvConfig(id="Taxi-v4"), masks_actions=True) is None
    older = taxi.changed("env", action_masks=False)  # as a run of an earlier version reads
    make_baseline(older, tmp_path, num_episodes=3)
    assert len(read_baseline(tmp_path, taxi.env)) == 3
    assert not make_baseline(CONFIG, tmp_path / "cartpole", num_episodes=3).masks_actions


def test_a_folder_with_no_baseline_in_it_yet_gets_one(tmp_path, monkeypatch):
    folder = tmp_path / "random-baseline"
    (folder / "videos").mkdir(parents=True)  # as `render --random` leaves it
    returns = baseline_returns(CONFIG, folder)
    monkeypatch.setattr(results, "_play", None)  # nothing is played again
    assert baseline_returns(CONFIG, folder) == read_baseline(folder, CONFIG.env) == returns


def test_what_cannot_be_kept_is_known_all_the_same(run, tmp_path, monkeypatch):
    run.evaluation.unlink(missing_ok=True)
    kept = evaluation_of(run)
    run.evaluation.unlink()
    monkeypatch.setattr(results, "is_writable", lambda folder: False)  # which nothing is to the superuser
    assert evaluation_of(run) == kept
    assert evaluate_checkpoint(checkpoint.load(run.checkpoint("best")), run, num_episodes=2).episodes == 2
    assert not run.evaluation.exists()
    folder = tmp_path / "random-baseline"
    returns = baseline_returns(CONFIG, folder)
    assert not folder.exists()
    make_baseline(CONFIG, folder)
    assert read_baseline(folder, CONFIG.env) == returns
