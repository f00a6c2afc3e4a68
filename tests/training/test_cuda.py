"""The same code on a GPU, where there is one."""

from itertools import islice

import numpy as np
import pytest
import torch

from ppocli.config.models import Config
from ppocli.records import checkpoint
from ppocli.records.run import Run
from tests import jobs
from tests.endings import assert_same_ending
from tests.jobs import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")

ACTIONS = {
    "one choice": {"id": "CartPole-v1"},
    "choices": {"id": "Echo-v0", "kwargs": {"kind": "multi-discrete"}},
    "numbers": {"id": "Pendulum-v1", "workers": 0},
}


def config_on(device, env, iterations):
    return Config.model_validate(
        {
            "env": {"num_envs": 4, **env},
            "network": {"hidden_sizes": [32, 32], "normalize_obs": True},
            "rollout": {"horizon": 64, "normalize_rewards": True},
            "update": {"minibatch_size": 64, "update_epochs": 4, "ent_coef": 0.01},
            "ppo": {"clip_vloss": True},
            "train": {
                "device": device,
                "env_steps": 256 * iterations,
                "eval_interval": 1024,
                "eval_episodes": 1,
                "checkpoint_interval": 512,
            },
        }
    )


@pytest.mark.parametrize("env", ACTIONS.values(), ids=ACTIONS)
def test_a_run_that_was_stopped_ends_like_one_that_never_was(env, tmp_path):
    config = config_on("cuda", env, 10)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    list(train(config, whole))
    iterations = train(config, stopped)
    list(islice(iterations, 5))
    iterations.close()
    list(jobs.resume(stopped))
    assert_same_ending(stopped, whole)


@pytest.mark.parametrize("env", ACTIONS.values(), ids=ACTIONS)
def test_the_first_iteration_learns_what_it_learns_on_the_cpu(env, tmp_path):
    moved = {}
    for device in ("cpu", "cuda"):
        run = Run(tmp_path / device)
        list(train(config_on(device, env, 1), run))
        moved[device] = checkpoint.load(run.checkpoint("last")).part("agent")
    assert moved["cpu"].keys() == moved["cuda"].keys()
    for name, weights in moved["cpu"].items():
        # Sixteen steps of Adam, each up to 3e-4 a weight, of sums in another order.
        np.testing.assert_allclose(moved["cuda"][name], weights, rtol=1e-3, atol=3e-4, err_msg=name)
