"""What `import ppocli` offers, beside the commands that do the same."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import ppocli
from ppocli import library
from ppocli.records import checkpoint
from tests.environments import Counting

SHORT = {"train.env_steps": 8192, "train.eval_interval": 8192, "train.eval_episodes": 5, "env.workers": 0}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def weights(result):
    return {name: array.tolist() for name, array in checkpoint.load(result.checkpoint).part("agent").items()}


def test_every_name_is_there_and_others_are_not():
    assert {name for name in dir(library) if name in ppocli.__all__} == set(ppocli.__all__)
    assert library.__all__ == ppocli.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ppocli.nothing


def test_importing_it_imports_nothing_heavy():
    program = "import sys, ppocli; assert not {'torch', 'gymnasium', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_training_is_the_commands_again_and_again_and_in_a_thread(request):
    command = request.getfixturevalue("ppocli")  # whose name is the package's here
    sets = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]
    command("train", "--config", "cartpole", "--seed", "3", "--name", "command", *sets)
    (by_command,) = Path("runs").glob("*/*command")
    expected = checkpoint.load(by_command / "checkpoints" / "best.safetensors")
    found = [ppocli.train("cartpole", seed=3, overrides=SHORT) for _ in range(2)]
    thread = threading.Thread(target=lambda: found.append(ppocli.train("cartpole", seed=3, overrides=SHORT)))
    thread.start()
    thread.join()
    for result in found:
        saved = checkpoint.load(result.checkpoint)
        assert saved.config == expected.config
        assert all(np.array_equal(saved.arrays[name], array) for name, array in expected.arrays.items())


@pytest.mark.parametrize(
    "config", ["cartpole", {"env": {"id": "CartPole-v1"}}, {"env": {"id": "CartPole-v1"}, "ppo": {"gamma": 0.9}}]
)
def test_configs_and_what_is_changed_in_them(config):
    given = config if isinstance(config, str) else {name: dict(section) for name, section in config.items()}
    result = ppocli.train(config, seed=1, overrides=SHORT | {"update.learning_rate": {"start": 1e-5, "end": 0}})
    written = checkpoint.load(result.checkpoint).config
    assert (written.env.id, written.train.seed, written.train.env_steps) == ("CartPole-v1", 1, 8192)
    assert written.update.learning_rate.start == 1e-5
    assert config == given  # which is as it was
    again = ppocli.train(written, overrides={"train.seed": 1}, name="again")
    assert weights(again) == weights(result)


def test_iterations_one_by_one_and_what_is_left_to_resume():
    iterations = ppocli.train_iter("cartpole", overrides=SHORT)
    first = next(iterations)
    iterations.close()
    (run,) = ppocli.list_runs()
    assert (run.state, run.env_steps) == ("interrupted", first.metrics.env_steps)
    assert ppocli.resume().env_steps == 8192
    assert weights(ppocli.resume()) == weights(ppocli.train("cartpole", overrides=SHORT, name="whole"))
    assert [run.state for run in ppocli.list_runs()] == ["finished", "finished"]


def test_what_is_wrong_raises_one_line_and_exits_nowhere():
    for call, said in {
        lambda: ppocli.train("nothing"): "--config nothing: no such preset",
        lambda: ppocli.train(): "config: env: missing",
        lambda: ppocli.train({"env": {"id": "CartPole-v1", "x": 1}}): "config: env.x: unknown key",
        lambda: ppocli.train("cartpole", overrides={"ppo.gamma": 3}): "rollout.gamma: 3 must be",
        lambda: ppocli.load(): "latest: no training run",
        lambda: ppocli.evaluate("nowhere"): "nowhere: no such run or checkpoint",
    }.items():
        with pytest.raises(ppocli.PpocliError, match=re.escape(said)):
            call()


def test_what_came_of_it_is_measured_and_drawn_by_any_name():
    result = ppocli.train("cartpole", overrides=SHORT)
    means = {ppocli.evaluate(run, episodes=10).return_mean for run in (result, "latest", ppocli.load(), result.run_dir)}
    assert len(means) == 1
    assert ppocli.evaluate(result, episodes=10, deterministic=False).return_mean not in means
    assert ppocli.random_baseline("cartpole", episodes=10).return_mean < min(means)
    assert ppocli.plot(result).suffix == ".png"
    assert ppocli.plot([result, "latest"], "both.svg").read_text().startswith("<?xml")
    assert "<th>CartPole-v1</th>" in ppocli.list_runs()._repr_html_()
    slower = SHORT | {"update.learning_rate": 1e-5, "train.target_return": 1.0}
    (comparison,) = ppocli.compare(result, [ppocli.train("cartpole", overrides=slower) for _ in range(2)])
    assert [scores.seeds for scores in comparison.groups] == [[0], [0]]
    assert comparison.groups[1].env_steps_to_target.solved == 1  # the same run twice counts once
    begun = ppocli.train("cartpole", overrides=SHORT, begin_from=result, seed=1)
    assert ppocli.list_runs()[-1].begun_from == result.run_dir.name
    assert begun.run_dir != result.run_dir


def test_an_environment_that_no_registry_knows():
    def make_it(render_mode=None):
        return gym.wrappers.TimeLimit(Counting(length=4), 3)

    small = {"train.env_steps": 2048, "env.num_envs": 2, "update.minibatch_size": 64}
    result = ppocli.train(env=make_it, overrides=SHORT | small)
    assert result.env_id == "made/make_it-v0"
    assert result.best_return == 6  # 1 + 2 + 3, and then the limit
    gym.registry.pop("made/make_it-v0")
    with pytest.raises(ppocli.PpocliError, match="not an environment of this Gymnasium"):
        ppocli.load(result)
    assert ppocli.load(result, env=make_it)(np.zeros(2, np.float32)) in (0, 1)
    assert ppocli.evaluate(result, env=make_it, episodes=3).return_mean == 6
    gym.registry.pop("made/make_it-v0")
    assert ppocli.resume(result, env=make_it, overrides={"train.env_steps": 4096}).env_steps == 4096


def test_a_function_that_workers_cannot_import_is_played_in_one_process():
    small = {"train.env_steps": 2048, "env.num_envs": 4, "update.minibatch_size": 64, "env.workers": "auto"}
    with pytest.warns(UserWarning, match="all environments are stepped in one process"):
        ppocli.train(env=lambda: Counting(), overrides=SHORT | small)


def test_the_examples_of_the_page_run_one_after_the_other():
    page = (ROOT / "docs" / "python.md").read_text()
    program = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
