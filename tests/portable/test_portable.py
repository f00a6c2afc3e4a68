"""Exported policies act as the policy does, whatever it sees and does; and nothing that does not is written."""

import json
import re
import shutil
import subprocess
from contextlib import closing
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import examples.catch
import examples.tmaze  # noqa: F401 - register their environments
from ppocli.config.models import Config
from ppocli.envs.make import playing
from ppocli.errors import PpocliError, UsageError
from ppocli.evaluation.policy import TrainedPolicy
from ppocli.portable import header, onnx, write
from ppocli.portable.check import compare, recorded
from ppocli.records import checkpoint
from tests.jobs import trained

has_onnx = all(find_spec(name) for name in ("onnx", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not has_onnx, reason="an extra")
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, header.COMPILERS)), reason="no C compiler")

FORMS = [pytest.param(".onnx", marks=needs_onnx), pytest.param(".h", marks=needs_compiler)]
NETWORKS = {
    "plain": {"hidden_sizes": [8, 6]},
    "normalised by nothing": {"hidden_sizes": [8], "normalize_obs": False},
    "linear": {"hidden_sizes": []},
    "remembering": {"hidden_sizes": [8], "memory": {"size": 8}},
    **{name: {"hidden_sizes": [8, 6], "activation": name} for name in ("relu", "elu", "gelu", "silu")},
}
STACKED = [{"id": "FrameStackObservation", "stack_size": 2}]
TASKS = {
    "a choice": ("CartPole-v1", {}),
    "a choice from 5 on": ("Shifted-v0", {"max_episode_steps": 30}),
    "choices from 5 and -1 on": ("Echo-v0", {"kwargs": {"kind": "multi-discrete-start"}}),
    "whole numbers": ("Echo-v0", {"kwargs": {"kind": "whole-numbers"}}),
    "choices": ("Echo-v0", {"kwargs": {"kind": "multi-discrete"}}),
    "on or off": ("Echo-v0", {"kwargs": {"kind": "multi-binary"}}),
    "bounded": ("Pendulum-v1", {}),
    "some of it bounded": ("Echo-v0", {"kwargs": {"kind": "box"}}),
    "masked, one-hot": ("Taxi-v4", {}),
    "a tuple of choices": ("Blackjack-v1", {}),
}
PICTURES = {
    "a picture and a number": ("CameraCatch-v0", {}, {}),
    "a stack of pictures": ("CameraCatch-v0", {"kwargs": {"sees": "camera"}, "wrappers": STACKED}, {}),
    "by another network": ("CameraCatch-v0", {}, {"cnn": "impala"}),
    "seen apart": ("CameraCatch-v0", {}, {"shared_cnn": False}),
    "seen and remembered": ("CameraCatch-v0", {}, {"memory": {"size": 8}}),
}


def policy_config(env_id, env=None, network=None):
    settings = {
        "env": {"id": env_id, "num_envs": 4, "workers": 0, **(env or {})},
        "network": network or NETWORKS["plain"],
        "rollout": {"horizon": 16},
        "update": {"minibatch_size": 32, "update_epochs": 1},
        "train": {"env_steps": 64, "eval_interval": 10_000, "eval_episodes": 1},
    }
    return Config.model_validate(settings)


def policy_of(folder, env_id, env=None, network=None):
    """A policy that has learned nothing, but has made up its mind: its last layer is far larger than at first."""
    run, _ = trained(policy_config(env_id, env, network), folder / "run")
    policy = TrainedPolicy(checkpoint.load(run.checkpoint("last")))
    last = [layer for layer in policy.agent.actor.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(100)
        last.bias.copy_(torch.linspace(-0.5, 0.5, len(last.bias)))
    return policy


def session_of(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path)


def checked(policy, folder, suffix, **options):
    return write.export(policy, folder / f"policy{suffix}", observations=300, **options)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("suffix", FORMS)
def test_every_kind_of_task(task, suffix, tmp_path):
    env_id, env = TASKS[task]
    agreement = checked(policy_of(tmp_path, env_id, env), tmp_path, suffix).checked
    assert (agreement.observations, agreement.ties) == (300, 0)
    assert agreement.largest_difference < 1e-5


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("suffix", FORMS)
def test_every_kind_of_network(network, suffix, tmp_path):
    policy = policy_of(tmp_path, "Acrobot-v1", network=NETWORKS[network])
    assert checked(policy, tmp_path, suffix).checked.ties == 0


@pytest.mark.slow
@pytest.mark.parametrize("normalize_obs", [True, False])
@pytest.mark.parametrize("remembering", [False, True])
@pytest.mark.parametrize("task", [*TASKS, "a picture and a number"])
@pytest.mark.parametrize("suffix", FORMS)
def test_ten_thousand_observations(suffix, task, remembering, normalize_obs, tmp_path):
    env_id, env = TASKS.get(task, ("CameraCatch-v0", {}))
    if (env_id, suffix) == ("CameraCatch-v0", ".h"):
        pytest.skip("a C header takes no pictures")
    network = NETWORKS["remembering" if remembering else "plain"] | {"normalize_obs": normalize_obs}
    policy = policy_of(tmp_path, env_id, env, network)
    found = write.export(policy, tmp_path / f"policy{suffix}", observations=10_000).checked
    kind = f"{suffix}, {task}, memory {remembering}, normalised {normalize_obs}"
    print(f"{kind}: {found.ties} ties, {found.largest_difference:.0e} apart")
    assert found.ties <= 3
    assert found.largest_difference < 1e-5


@pytest.mark.parametrize("kind", PICTURES)
@needs_onnx
def test_every_kind_of_picture(kind, tmp_path):
    policy = policy_of(tmp_path, *PICTURES[kind])
    assert checked(policy, tmp_path, ".onnx").checked.ties == 0
    with pytest.raises(UsageError, match="a C header is for policies without pictures"):
        checked(policy, tmp_path, ".h")


@needs_onnx
def test_a_model_says_what_it_takes_gives_and_is(tmp_path):
    policy = policy_of(tmp_path, "Taxi-v4", {}, NETWORKS["remembering"])
    exported = checked(policy, tmp_path, ".onnx", stochastic=True)
    session = session_of(exported.output)
    assert {one.name: (one.type, one.shape) for one in session.get_inputs()} == {
        "obs": ("tensor(int64)", ["batch"]),
        "state": ("tensor(float)", ["batch", 8]),
        "action_mask": ("tensor(int8)", ["batch", 6]),
        "noise": ("tensor(float)", ["batch", 6]),
    }
    assert {one.name: (one.type, one.shape) for one in session.get_outputs()} == {
        "action": ("tensor(int64)", ["batch"]),
        "state_after": ("tensor(float)", ["batch", 8]),
    }
    about = session.get_modelmeta().custom_metadata_map
    assert about["environment"] == "Taxi-v4"
    assert about["checkpoint"] == policy.checkpoint.digest
    assert exported.bytes == exported.output.stat().st_size


@pytest.mark.parametrize("task", ["a choice", "bounded"])
@needs_onnx
def test_drawn_actions_are_the_policys_by_the_same_noise(task, tmp_path):
    policy = policy_of(tmp_path, *TASKS[task])
    model = checked(policy, tmp_path, ".onnx", stochastic=True)
    shown = np.stack([one.obs for one in recorded(policy, 100)])
    noise = policy.agent.draw_noise(np.random.default_rng(0), 100)
    found = session_of(model.output).run(["action"], {"obs": shown, "noise": noise})[0]
    with torch.inference_mode():
        drawn, _ = policy.agent.sample(torch.from_numpy(policy.seen(shown)), torch.from_numpy(noise))
    np.testing.assert_allclose(found, policy.to_env(drawn.numpy()), rtol=1e-5, atol=1e-6)


@needs_onnx
def test_a_model_plays_an_episode_as_the_policy_does(tmp_path):
    policy = policy_of(tmp_path, "CartPole-v1")
    session = session_of(checked(policy, tmp_path, ".onnx").output)
    returns = []
    for act in (policy, lambda obs: session.run(["action"], {"obs": obs[None]})[0][0]):
        with closing(gym.make("CartPole-v1")) as env:
            obs, total, ended = env.reset(seed=3)[0], 0.0, False
            while not ended:
                obs, reward, terminated, truncated, _ = env.step(act(obs))
                total, ended = total + reward, terminated or truncated
            returns.append(total)
    assert returns[0] == returns[1]


@needs_compiler
@pytest.mark.parametrize("compiler", [one for one in header.COMPILERS if shutil.which(one)])
def test_a_header_is_plain_c_and_small(compiler, tmp_path):
    policy = policy_of(tmp_path, "LunarLander-v3", network={"hidden_sizes": [64, 64]})
    exported = checked(policy, tmp_path, ".h")
    text = exported.output.read_text()
    assert re.findall(r"#include .*", text) == ["#include <math.h>"]
    assert not re.search(r"malloc|printf", text)
    (tmp_path / "main.c").write_text('#include "policy.h"\n#include "policy.h"\nint main(void) { return 0; }\n')
    command = [compiler, *header.OPTIONS, "-c", "main.c", "-o", "unused.o"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stderr == ""
    weights = 8 * 64 + 64 + 64 * 64 + 64 + 64 * 4 + 4 + 2 * 8
    assert (exported.bytes, exported.stack_bytes) == (4 * weights, 4 * (8 + 2 * 64))
    assert f"{4 * weights:,} bytes of constants" in text


@pytest.mark.parametrize("name", ["9lives.h", "my policy.h", "p-1.h"])
def test_a_name_that_c_cannot_have_is_refused(name, tmp_path):
    with pytest.raises(UsageError, match="use letters, digits and _ alone"):
        write.export(policy_of(tmp_path, "CartPole-v1"), tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_header_takes_no_noise(tmp_path):
    with pytest.raises(UsageError, match="a C header takes no noise"):
        checked(policy_of(tmp_path, "CartPole-v1"), tmp_path, ".h", stochastic=True)


@pytest.mark.parametrize(
    ("task", "said"), [("a choice", "it makes other choices"), ("bounded", "differ by .* of their")]
)
@needs_onnx
def test_what_acts_otherwise_is_not_written(task, said, tmp_path, monkeypatch):
    policy = policy_of(tmp_path, *TASKS[task])
    monkeypatch.setattr(onnx, "_activated", lambda graph, x, activation: x)
    with pytest.raises(PpocliError, match=said):
        checked(policy, tmp_path, ".onnx")
    assert not (tmp_path / "policy.onnx").exists()


def test_what_is_compared_forgets_where_an_episode_begins(tmp_path):
    policy = policy_of(tmp_path, "CartPole-v1", network=NETWORKS["remembering"])
    shown, remembered = recorded(policy, 200), []

    def act(obs, mask, states):
        remembered.append(states is not None)
        tensor = None if states is None else torch.from_numpy(states)
        with torch.inference_mode():
            actions, after = policy.agent.mode(torch.from_numpy(policy.seen(obs)), tensor)
        return actions.numpy(), after.numpy()

    assert compare(policy, act, shown).ties == 0
    assert remembered == [not one.begins for one in shown]
    assert remembered.count(False) > 1


def test_choices_that_are_as_good_as_each_other_are_ties(tmp_path):
    policy = policy_of(tmp_path, "CartPole-v1")
    last = [layer for layer in policy.agent.actor.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight[1] = last.weight[0]
        last.bias[1] = last.bias[0]
    shown = recorded(policy, 50)
    assert compare(policy, lambda obs, mask, states: (np.ones(len(obs), int), None), shown).ties == 50


def test_what_is_recorded_is_what_its_task_shows(tmp_path):
    policy = policy_of(tmp_path, "Taxi-v4")
    shown = recorded(policy, 250)
    assert [one.begins for one in shown][:201].count(True) == 2  # of 200 env steps at most
    with closing(playing(policy.checkpoint.config.evaluated_in)) as env:
        for one in shown:
            assert one.obs in env.observation_space
            assert one.mask.shape == (6,)
    np.testing.assert_array_equal([one.obs for one in recorded(policy, 250)], [one.obs for one in shown])


@needs_onnx
def test_by_the_command(ppocli, tmp_path):
    policy_of(tmp_path, "CartPole-v1")
    outcome = ppocli("export", str(tmp_path / "run"), "--output", "cart.onnx")
    assert outcome.exit_code == 0
    assert re.match(
        r"policy: cart.onnx, [\d,]+ bytes\nchecked on 1,000 observations: its actions are the", outcome.stdout
    )
    outcome = ppocli("export", str(tmp_path / "run"), "--output", "cart.onnx", "--json")
    assert json.loads(outcome.stdout)["checked"]["observations"] == 1000
    outcome = ppocli("export", str(tmp_path / "run"), "--output", "cart.pt")
    assert (outcome.exit_code, outcome.stderr) == (2, "error: --output cart.pt: the name must end in .onnx or .h\n")


def test_without_its_packages(tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "onnx":
            raise ImportError(name)
        return real(name, *arguments, **options)

    policy = policy_of(tmp_path, "CartPole-v1")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        PpocliError, match=r'ONNX needs the packages onnx and onnxruntime: pip install "ppocli\[onnx\]"'
    ):
        checked(policy, tmp_path, ".onnx")
