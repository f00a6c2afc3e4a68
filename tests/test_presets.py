"""Every shipped preset loads, says what it does, and trains; and three tasks, here and nowhere else, are learned."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from ppocli.config.load import load_config, parse_yaml, preset_folder, preset_names
from ppocli.records.run import Run
from tests import jobs

ALONE = "env.workers=0"
"""Workers change nothing but the time, and that for the worse where other tests need the other cores."""


EXTRAS = {
    "hopper": ["mujoco"],
    "pong": ["ale_py", "cv2"],
    "breakout": ["ale_py", "cv2"],
    "car_racing": ["cv2"],
    "minigrid_doorkey": ["minigrid"],
}
LARGE = ("pong", "breakout", "car_racing")  # whose iterations take too long for a test


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_runs_an_iteration(preset, tmp_path):
    for module in EXTRAS.get(preset, ()):
        pytest.importorskip(module, reason="an extra")
    config = load_config(preset, [ALONE, *(["rollout.horizon=16"] if preset in LARGE else [])])
    with closing(jobs.train(config, Run(tmp_path / "run"))) as iterations:
        assert next(iterations).progress.env_steps == config.batch_size


@pytest.mark.parametrize("preset", preset_names())
def test_every_setting_of_a_preset_is_explained(preset):
    """On its own line, or, where that says what they all are about, on the line of its section."""
    path = preset_folder() / f"{preset}.yaml"
    assert path.read_text().startswith("# ")
    of_section, explained, unexplained = "", [], []
    for line in path.read_text().splitlines():
        setting, _, words = map(str.strip, line.partition("#"))
        if setting.startswith("- "):  # an item of a list
            unexplained += [] if words else [setting]
        elif setting.endswith(":") and not line.startswith(" "):
            of_section = words
        elif setting:
            (explained if words or of_section else unexplained).append(setting.partition(":")[0])
    assert unexplained == []
    assert explained == [key for section in parse_yaml(path.read_text(), preset).values() for key in section]


def test_presets_lie_in_the_checkout():
    assert preset_folder() == Path(__file__).parents[1] / "configs"


def test_the_notebooks_settings_are_the_notebooks():
    for preset, horizon, iterations, clip_coef in (("cartpole", 256, 300, 0.2), ("lunar", 512, 500, 0.15)):
        config = load_config(f"notebook/{preset}")
        rollout, update = config.rollout, config.update
        assert (config.env.num_envs, rollout.horizon, config.num_iterations) == (1, horizon, iterations)
        assert (config.network.hidden_sizes, config.network.activation) == ((256, 256), "relu")
        assert (update.minibatch_size, update.update_epochs, config.ppo.clip_coef) == (16, 3, clip_coef)
        assert (rollout.gamma, rollout.gae_lambda, update.learning_rate) == (0.999, 0.95, 3e-4)
        assert (update.ent_coef, update.vf_coef, update.max_grad_norm, update.norm_adv) == (0, 1, None, False)


def greedy_return(ppocli, preset, *options):
    """Train, then measure the best agent on 100 unseen episodes, all through the command line."""
    run = json.loads(ppocli("train", "--config", preset, "--set", ALONE, *options, "--json").stdout)["run_dir"]
    return json.loads(ppocli("evaluate", run, "--json").stdout)["return_mean"]


def test_cartpole_is_learned(ppocli):
    assert greedy_return(ppocli, "cartpole") >= 475


def test_mountain_car_continuous_is_learned(ppocli):
    """Real-valued actions, normalised observations and rewards, all through a checkpoint."""
    assert greedy_return(ppocli, "mountain_car_continuous", "--stop-when-solved") >= 90


@pytest.mark.slow
def test_lunar_lander_is_learned(ppocli):
    """Solved is a mean of 200, but on other episodes than these."""
    assert greedy_return(ppocli, "lunar_fast", "--stop-when-solved") >= 180


@pytest.mark.slow
def test_lunar_lander_is_learned_well(ppocli):
    short = ("--set", "train.env_steps=500_000", "--set", "train.eval_interval=250_000")
    assert greedy_return(ppocli, "lunar", *short) >= 240
