"""A simulator that holds a port, of which no second one can be made: every command, as a user gives it."""

import json
import socket

import pytest

from tests.cli.commands import error_line, strict_json

SIMULATOR = """
import socket

import gymnasium as gym
import numpy as np


class Arm(gym.Env):
    observation_space = gym.spaces.Box(-2, 2, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, port, render_mode=None):
        self.render_mode = render_mode
        self.server = socket.create_server(("127.0.0.1", port))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.goal = 0.0, self.np_random.uniform(-1, 1)
        return self.obs(), {}

    def step(self, action):
        self.at = float(np.clip(self.at + 0.2 * float(action[0]), -1, 1))
        return self.obs(), -abs(self.at - self.goal), False, False, {}

    def obs(self):
        return np.array([self.at, self.goal], np.float32)

    def render(self):
        return np.full((16, 16, 3), 99, np.uint8)

    def close(self):
        self.server.close()


gym.register("PortBound-v0", Arm, max_episode_steps=25)
"""
CONFIG = """
env: {id: PortBound-v0, num_envs: 1, single_instance: true, kwargs: {port: PORT}}
network: {hidden_sizes: [8]}
rollout: {horizon: 40}
update: {minibatch_size: 20}
train: {env_steps: 200, eval_interval: 80, eval_episodes: 2, snapshots: 2}
"""
ENDED = "warning: PortBound-v0: an evaluation has ended the training episode under way, which is not counted\n"


@pytest.fixture
def with_it(ppocli, tmp_path):
    """Run a command in a folder with the simulator and its config."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "port_bound.py").write_text(SIMULATOR)
    (tmp_path / "arm.yaml").write_text(CONFIG.replace("PORT", str(port)))
    return lambda *arguments: ppocli(*arguments, "--import", "port_bound")


def test_every_command(with_it, tmp_path):
    checked = with_it("check-env", "--config", "arm.yaml", "--json")
    assert checked.exit_code == 0
    assert not [found for found in strict_json(checked.stdout)["findings"] if found["level"] != "hint"]
    trained = with_it("train", "--config", "arm.yaml", "--quiet", "--json")
    assert (trained.exit_code, trained.stderr) == (0, ENDED)
    assert strict_json(trained.stdout)["env_steps"] == 200
    for command in ("evaluate latest --episodes 2", "random-baseline --config arm.yaml --episodes 2"):
        measured = with_it(*command.split(), "--json")
        assert (measured.exit_code, measured.stderr) == (0, "")
        assert strict_json(measured.stdout)["length_mean"] == 25
    for command in ("render latest --output it.gif", "render --random --config arm.yaml --output it.gif"):
        assert with_it(*command.split()).exit_code == 0
        (tmp_path / "it.gif").unlink()
    assert with_it("report", "latest", "--output", "it.html").exit_code == 0
    assert with_it("train", "--resume", "latest", "--set", "train.env_steps=240", "--quiet").exit_code == 0
    line = error_line(with_it("render", "latest", "--learning"), 2)
    assert line.startswith("error: env.single_instance: no two stages are played side by side; render those in runs/")


@pytest.mark.slow
def test_several_seeds_take_turns(with_it):
    trained = with_it("train", "--config", "arm.yaml", "--seeds", "0-1", "--jobs", "2", "--quiet", "--json")
    assert (trained.exit_code, trained.stderr) == (0, ENDED)  # said by each, shown once
    result = json.loads(trained.stdout)
    assert (result["at_a_time"], result["seeds_evaluated"]) == (1, 2)
