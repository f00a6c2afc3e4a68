import json
import os

import pytest

from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.envs.episodes import Episode
from ppocli.errors import RunError
from ppocli.records.kept import Evaluation, read_baseline, read_evaluation, write_baseline, write_evaluation

CONFIG = Config.model_validate({"env": {"id": "CartPole-v1", "kwargs": {"sutton_barto_reward": True}}})
EVALUATION = Evaluation(
    deterministic=True,
    checkpoint_env_steps=64,
    episode_seeds=[1, 2],
    episode_returns=[3.5, 4.5],
    episode_lengths=[3, 4],
    random_episode_returns=[1.0, 2.0],
)


def test_an_evaluation_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "evaluation.json"
    assert read_evaluation(path) is None
    write_evaluation(path, {"return_mean": 4.0}, EVALUATION)
    assert read_evaluation(path) == EVALUATION
    assert json.loads(path.read_text())["return_mean"] == 4.0


@pytest.mark.parametrize(
    "change", [{"episode_seeds": None}, {"episode_returns": [1e300]}, {"random_episode_returns": "x"}], ids=str
)
def test_an_evaluation_of_another_version_is_none(tmp_path, change):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(EVALUATION.model_dump() | change))
    assert read_evaluation(path) is None
    path.write_text("{")
    assert read_evaluation(path) is None


def test_episode_lengths_were_not_always_kept(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(EVALUATION.model_dump_json(exclude={"episode_lengths"}))
    assert read_evaluation(path) == EVALUATION.model_copy(update={"episode_lengths": []})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only where there are named pipes")
def test_an_evaluation_that_may_never_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "evaluation.json")
    with pytest.raises(RunError, match=r"evaluation.json: not a file"):
        read_evaluation(tmp_path / "evaluation.json")


def write(folder, config=CONFIG):
    episodes = [Episode(0, seed, seed / 2, 3, True, False, 3 * seed) for seed in (7, 8)]
    write_baseline(folder, config, {"return_mean": 3.75}, episodes, seconds=1.5)


def test_a_baseline_is_read_as_it_was_written(tmp_path):
    folder = tmp_path / "there" / "random-baseline"
    assert read_baseline(folder, CONFIG.env) is None
    write(folder)
    assert read_baseline(folder, CONFIG.env) == [3.5, 4.0]
    assert read_baseline(folder, CONFIG.env.model_copy(update={"num_envs": 99, "workers": 3})) == [3.5, 4.0]
    assert json.loads((folder / "evaluation.json").read_text()) == {
        "return_mean": 3.75,
        "episode_seeds": [7, 8],
        "episode_returns": [3.5, 4.0],
        "episode_lengths": [3, 3],
    }
    assert read_baseline(folder, CONFIG.env, masks_actions=True) is None  # older ones say nothing of masks
    write(folder)  # in place of the one before
    assert read_baseline(folder, CONFIG.env) == [3.5, 4.0]


def test_a_baseline_of_another_environment_or_a_damaged_one_is_none(tmp_path):
    write(tmp_path)
    assert read_baseline(tmp_path, EnvConfig(id="CartPole-v1")) is None
    assert read_baseline(tmp_path, EnvConfig(id="CartPole-v0", kwargs=CONFIG.env.kwargs)) is None
    rows = (tmp_path / "episodes.csv").read_text()
    for text in ("", rows.splitlines()[0] + "\n", rows.replace("3.5", "x")):
        (tmp_path / "episodes.csv").write_text(text)
        assert read_baseline(tmp_path, CONFIG.env) is None


def test_a_baseline_is_of_the_task_that_agents_are_evaluated_in(tmp_path):
    config = Config.model_validate(CONFIG.as_written() | {"evaluation": {"env_kwargs": {"render_fps": 1}}})
    write(tmp_path, config)
    assert read_baseline(tmp_path, config.evaluated_in) == [3.5, 4.0]
    assert read_baseline(tmp_path, config.env) is None
