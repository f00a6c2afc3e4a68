"""Every shipped preset loads, says what it does, and trains; and the two tasks are really learned."""

import json
from pathlib import Path

import pytest

from ppocli.config.load import load_config, preset_folder, preset_names
from ppocli.records.run import Run
from ppocli.training.loop import train


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_runs_an_iteration(preset, tmp_path):
    if preset == "hopper":
        pytest.importorskip("mujoco", reason="MuJoCo is an extra")
    config = load_config(preset)
    reports = train(config, Run(tmp_path / "run"))
    assert next(reports).progress.env_steps == config.batch_size
    reports.close()


@pytest.mark.parametrize("preset", preset_names())
def test_every_line_of_a_preset_is_explained(preset):
    text = (preset_folder() / f"{preset}.yaml").read_text()
    settings = [line for line in text.splitlines() if line.startswith(" ") and not line.strip().startswith("#")]
    explained = [line for line in settings if "#" in line]
    assert text.startswith("#")
    assert len(explained) >= 0.7 * len(settings)


def test_presets_lie_in_the_checkout():
    assert preset_folder() == Path(__file__).parents[1] / "configs"


def greedy_return(ppocli, *train_arguments):
    """Train, then measure the best agent on 100 unseen episodes, all through the command line."""
    run = json.loads(ppocli("train", *train_arguments, "--json").stdout)["run_dir"]
    return json.loads(ppocli("evaluate", run, "--json").stdout)["return_mean"]


def test_cartpole_is_learned(ppocli):
    assert greedy_return(ppocli, "--config", "cartpole") >= 475


def test_mountain_car_continuous_is_learned(ppocli):
    """Real-valued actions, normalised observations and rewards, all through a checkpoint."""
    assert greedy_return(ppocli, "--config", "mountain_car_continuous") >= 90


def test_the_notebooks_settings_are_the_notebooks():
    for preset, horizon, iterations, clip_coef in (("cartpole", 256, 300, 0.2), ("lunar", 512, 500, 0.15)):
        config = load_config(f"notebook/{preset}")
        assert (config.env.num_envs, config.ppo.horizon, config.num_iterations) == (1, horizon, iterations)
        assert (config.network.hidden_sizes, config.network.activation) == ((256, 256), "relu")
        settings = config.ppo
        assert (settings.minibatch_size, settings.update_epochs, settings.clip_coef) == (16, 3, clip_coef)
        assert (settings.gamma, settings.gae_lambda, settings.learning_rate) == (0.999, 0.95, 3e-4)
        assert (settings.ent_coef, settings.vf_coef, settings.max_grad_norm, settings.norm_adv) == (0, 1, None, False)


def test_lunar_lander_is_learned(ppocli):
    assert greedy_return(ppocli, "--config", "lunar", "--set", "train.env_steps=250_000") >= 200
