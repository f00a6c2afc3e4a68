import hashlib
import json
import os
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.normalize import RewardNormalizer
from ppocli.algorithm.updates.ppo import PPO
from ppocli.config.models import Config, EnvConfig
from ppocli.envs.api import Discrete
from ppocli.envs.make import evaluation_envs
from ppocli.errors import CheckpointError
from ppocli.evaluation.play import evaluate, greedy
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Progress
from tests.algorithm.test_ppo import make_batch, update

CONFIG = Config.model_validate({"env": {"id": "CartPole-v1"}, "network": {"hidden_sizes": [8]}})
PROGRESS = Progress(iterations=3, env_steps=6144, seconds=1.5, episodes=70, best_return=20.0)
REWARDS = RewardNormalizer(2, 0.9)


def state_of(ppo):
    return {"agent": ppo.agent.state_dict(), "optimizer": ppo.state_dict(), "rewards": REWARDS.state_dict()}


@pytest.fixture
def saved(tmp_path):
    agent = Agent(4, Discrete(2), hidden_sizes=(8,), generator=torch.Generator().manual_seed(0))
    ppo = PPO(agent, minibatch_size=16, update_epochs=1, vf_coef=0.5, max_grad_norm=0.5)
    update(ppo, make_batch(agent))
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, CONFIG, PROGRESS, state_of(ppo))
    return path, agent, ppo


def test_what_is_saved_is_loaded(saved):
    path, _, ppo = saved
    loaded = checkpoint.load(path)
    assert loaded.config == CONFIG
    assert loaded.progress == PROGRESS
    extras = {"mujoco", "envpool"}
    assert set(loaded.versions) - extras == {"ppocli", "python", "torch", "gymnasium", "box2d", "numpy", "machine"}
    for part, originals in state_of(ppo).items():
        tensors = loaded.part(part)
        assert tensors.keys() == originals.keys()
        assert all(torch.equal(tensors[name], originals[name]) for name in tensors)
    assert any(name.endswith("exp_avg_sq") for name in loaded.part("optimizer"))


def test_a_loaded_agent_plays_the_same_episodes(saved):
    path, agent, _ = saved
    envs = evaluation_envs(CONFIG.env)
    seeds = list(range(30))
    assert evaluate(envs, greedy(checkpoint.load(path).build_agent(evaluation_envs(CONFIG.env))), seeds) == evaluate(
        envs, greedy(agent), seeds
    )


def test_weights_that_are_not_finite_are_refused(saved):
    path, agent, ppo = saved
    with torch.no_grad():
        agent.critic[0].bias[0] = torch.nan
    checkpoint.save(path, CONFIG, PROGRESS, state_of(ppo))
    with pytest.raises(CheckpointError, match="not finite"):
        checkpoint.load(path)


def test_the_header_is_one_entry_of_sorted_json(saved):
    content = saved[0].read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    assert list(header["__metadata__"]) == ["ppocli"]
    entry = header["__metadata__"]["ppocli"]
    assert entry == json.dumps(json.loads(entry), sort_keys=True)
    assert json.loads(entry)["format"] == 2


def test_saving_is_reproducible_and_leaves_nothing_else(saved, tmp_path):
    path, _, ppo = saved
    before = path.read_bytes()
    checkpoint.save(path, CONFIG, PROGRESS, state_of(ppo))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_failed_write_leaves_the_old_file_and_no_other(saved, tmp_path, monkeypatch):
    path, _, ppo = saved
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, CONFIG, replace(PROGRESS, iterations=4), state_of(ppo))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_torn_files_are_refused(saved, tmp_path):
    content = saved[0].read_bytes()
    torn = tmp_path / "torn.safetensors"
    for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        torn.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"torn.safetensors: not a checkpoint, or a damaged one"):
            checkpoint.load(torn)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    path = tmp_path / "evil.safetensors"
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        checkpoint.load(path)


def foreign(path, header):
    """What `load` says of a well-formed file with such a header, and the right digest where it has room for one."""
    save_file({"agent.x": torch.zeros(2)}, path, {"ppocli": header} if header else None)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"#" * 64, hashlib.sha256(content).hexdigest().encode()))
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load(path)
    return str(refused.value)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    header = {"format": 2, "config": {"env": {"id": "CartPole-v1"}}, "digest": "#" * 64, "versions": {}}
    assert "not a checkpoint of ppocli" in foreign(path, None)
    assert "not a checkpoint of ppocli" in foreign(path, "{")
    assert "not a checkpoint of ppocli" in foreign(path, "[]")
    assert "not a checkpoint of ppocli" in foreign(path, json.dumps({"format": 2}))
    whole = header | {"progress": vars(PROGRESS)}
    assert "checkpoint format 1, but" in foreign(path, json.dumps(whole | {"format": 1}))
    assert "not a checkpoint of ppocli" in foreign(path, "[" * 100_000)
    wrong = header | {"progress": vars(PROGRESS) | {"iterations": "many"}}
    assert "not a checkpoint of ppocli" in foreign(path, json.dumps(wrong))
    header["progress"] = vars(PROGRESS)
    assert "the config inside" in foreign(path, json.dumps(header | {"config": {"env": {"id": "os:system"}}}))


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(saved, monkeypatch):
    path, _, ppo = saved
    original = os.fstat

    def replaced(descriptor):
        monkeypatch.setattr(os, "fstat", original)
        larger = state_of(ppo) | {"more": {"x": torch.zeros(100)}}
        checkpoint.save(path, CONFIG, replace(PROGRESS, iterations=4), larger)
        return original(descriptor)

    monkeypatch.setattr("ppocli.records.checkpoint.os.fstat", replaced)
    assert checkpoint.load(path).progress.iterations == 3
    assert checkpoint.load(path).progress.iterations == 4


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "x.safetensors")


def test_weights_for_other_spaces_are_refused(saved):
    with pytest.raises(CheckpointError, match="agent does not fit CartPole-v1"):
        checkpoint.load(saved[0]).build_agent(evaluation_envs(EnvConfig(id="LunarLander-v3", workers=0)))
