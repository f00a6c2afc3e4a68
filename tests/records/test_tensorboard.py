"""Curves for TensorBoard, read back from their events."""

import builtins
import itertools
import struct
from collections import defaultdict
from contextlib import closing

import pytest

from ppocli.config.models import Config
from ppocli.errors import PpocliError
from ppocli.records.run import Run
from ppocli.records.tensorboard import write
from tests.jobs import resume, train, trained

pytest.importorskip("tensorboardX", reason="an extra")

CONFIG = Config.model_validate(
    {
        "env": {"id": "Informed-v0", "num_envs": 2, "workers": 0, "info_keys": ["is_success", "height"]},
        "rollout": {"horizon": 16},
        "update": {"minibatch_size": 32, "update_epochs": 1},
        "train": {"env_steps": 32 * 6, "eval_interval": 64, "eval_episodes": 2, "tensorboard": True},
    }
)


def events_of(folder):
    """Each curve's env steps and values, in the order in which they were written: a length, a sum, an event, a sum."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.out.tfevents.*")
    data, place, curves = path.read_bytes(), 0, defaultdict(list)
    while place < len(data):
        (length,) = struct.unpack("<Q", data[place : place + 8])
        event = Event.FromString(data[place + 12 : place + 12 + length])
        for value in event.summary.value:
            curves[value.tag].append((event.step, value.simple_value))
        place += 16 + length
    return curves


def expected_of(run):
    return {
        "rollout/ep_rew_mean": [(row.env_steps, row.return_mean) for row in run.metrics() if row.return_mean],
        "train/entropy": [(row.env_steps, row.entropy) for row in run.metrics()],
        "eval/mean_reward": [(row.env_steps, row.eval_return_mean) for row in run.metrics() if row.eval_return_mean],
        "info/height": [(row.env_steps, row.info["height"]) for row in run.metrics() if row.info],
        "episode/return": [(episode.env_steps, episode.episode_return) for episode in run.episodes()],
    }


def assert_same(curves, run):
    for name, expected in expected_of(run).items():
        assert [step for step, _ in curves[name]] == [step for step, _ in expected], name
        assert [value for _, value in curves[name]] == pytest.approx([value for _, value in expected]), name
        assert expected, name


def test_curves_are_those_of_the_logs(tmp_path):
    run, _ = trained(CONFIG, tmp_path / "run")
    curves = events_of(run.path / "tensorboard")
    assert_same(curves, run)
    best = max(row.eval_return_mean for row in run.metrics() if row.eval_return_mean is not None)
    assert curves["hparam/best_return"][0][1] == best
    write(run, tmp_path / "elsewhere")
    again = events_of(tmp_path / "elsewhere")
    assert {name: values for name, values in again.items() if name != "time/fps"} == {
        name: values for name, values in curves.items() if name != "time/fps"
    }


def test_a_resumed_run_has_each_env_step_once(tmp_path):
    run = Run(tmp_path / "run")
    with closing(train(CONFIG.changed("train", checkpoint_interval=64), run)) as training:
        list(itertools.islice(training, 3))
        for path in run.checkpoint("last").parent.glob("last*"):
            killed = path.read_bytes()  # as of the second iteration: a kill now would leave it so
    run.checkpoint("last").write_bytes(killed)
    list(resume(run))
    assert len(run.metrics()) == 6
    assert_same(events_of(run.path / "tensorboard"), run)


def test_without_the_key_there_are_none(tmp_path):
    run, _ = trained(CONFIG.changed("train", tensorboard=False), tmp_path / "run")
    assert not (run.path / "tensorboard").exists()


def test_by_the_commands(ppocli, tmp_path):
    small = ("--set", "train.env_steps=2048", "--set", "env.workers=0", "--set", "train.eval_episodes=2", "--quiet")
    ppocli("train", "--config", "cartpole", "--tensorboard", *small)
    (folder,) = (tmp_path / "runs").glob("*/*/tensorboard")
    assert len(events_of(folder)["train/kl"]) == 1
    outcome = ppocli("export", "latest", "--tensorboard", "curves")
    assert (outcome.exit_code, outcome.stdout) == (0, "curves: curves\n")
    assert events_of(tmp_path / "curves").keys() == events_of(folder).keys()
    outcome = ppocli("export", "latest")
    assert outcome.exit_code == 2
    assert "export takes --output FILE.onnx or FILE.h for the policy, or --tensorboard DIR" in outcome.stderr


def test_without_the_package_nothing_is_left_behind(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "tensorboardX":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PpocliError, match="TensorBoard needs the package tensorboardX"):
        next(train(CONFIG, Run(tmp_path / "run")))
    assert not (tmp_path / "run").exists()
