"""What is found out about agents and the random policy is found out once, and belongs to what it is about."""

import json
from contextlib import suppress

import pytest

from ppocli.config.models import Config
from ppocli.evaluation import results
from ppocli.evaluation.results import (
    baseline_returns,
    evaluate_checkpoint,
    evaluation_of,
    make_baseline,
    stored_baseline,
)
from ppocli.records import checkpoint
from ppocli.records.run import Run
from ppocli.training.loop import train

CONFIG = Config.model_validate(
    {
        "env": {"id": "CartPole-v1", "num_envs": 2},
        "network": {"hidden_sizes": [4]},
        "ppo": {"horizon": 16, "minibatch_size": 16},
        "train": {"env_steps": 64, "eval_episodes": 1},
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    list(train(CONFIG, run))
    return run


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
    for change in (*of_others, {"episode_seeds": None}):
        run.evaluation.write_text(json.dumps(stored | change))
        with suppress(TypeError):  # nothing is played in place of the real thing
            evaluation_of(run)
        assert played.pop() == run.checkpoint("best")
        assert played == []


def test_the_statistics_are_those_of_the_episodes(run):
    result = evaluate_checkpoint(checkpoint.load(run.checkpoint("best")), run, num_episodes=10)
    stored = json.loads(run.evaluation.read_text())
    assert sum(stored["episode_returns"]) / 10 == pytest.approx(result["return_mean"])
    assert sum(stored["random_episode_returns"]) / 10 == pytest.approx(result["random_baseline"]["return_mean"])
    assert len(stored["episode_seeds"]) == 10
    assert stored["episode_seeds"] == evaluation_of(run).episode_seeds[:10]
    assert "episode_returns" not in result


def test_a_baseline_is_made_once(tmp_path):
    folder = tmp_path / "random-baseline"
    assert stored_baseline(CONFIG, folder) is None
    returns = baseline_returns(CONFIG, folder)
    assert len(returns) == 100
    assert json.loads((folder / "evaluation.json").read_text())["episode_returns"] == returns
    make_baseline(CONFIG, folder, num_episodes=3)
    assert baseline_returns(CONFIG, folder) == stored_baseline(CONFIG, folder) == returns[:3]


def test_a_baseline_with_other_arguments_is_neither_taken_nor_replaced(tmp_path):
    folder = tmp_path / "random-baseline"
    other = CONFIG.model_copy(update={"env": CONFIG.env.model_copy(update={"kwargs": {"sutton_barto_reward": True}})})
    make_baseline(other, folder, num_episodes=3)
    assert stored_baseline(CONFIG, folder) is None
    assert len(baseline_returns(CONFIG, folder)) == 100
    assert len(stored_baseline(other, folder)) == 3


def test_what_cannot_be_kept_is_known_all_the_same(run, tmp_path, monkeypatch):
    run.evaluation.unlink(missing_ok=True)
    kept = evaluation_of(run)
    run.evaluation.unlink()
    monkeypatch.setattr(results, "is_writable", lambda folder: False)  # which nothing is to the superuser
    assert evaluation_of(run) == kept
    assert evaluate_checkpoint(checkpoint.load(run.checkpoint("best")), run, num_episodes=2)["episodes"] == 2
    assert not run.evaluation.exists()
    assert len(baseline_returns(CONFIG, tmp_path / "random-baseline")) == 100
    assert not (tmp_path / "random-baseline").exists()


def test_the_baseline_of_a_run_lies_beside_it(tmp_path):
    run = Run(tmp_path / "CartPole-v1" / "x")
    assert run.baseline == tmp_path / "CartPole-v1" / "random-baseline"
