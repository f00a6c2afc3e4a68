import hashlib
import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from ppocli.config.models import Config
from ppocli.errors import CheckpointError
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Progress

CONFIG = Config.model_validate({"env": {"id": "CartPole-v1"}, "network": {"hidden_sizes": [8]}})
PROGRESS = Progress(iterations=3, env_steps=6144, seconds=1.5, episodes=70, best_return=20.0)
VERSIONS = {"ppocli": "1", "torch": "2"}
STATE = {
    "agent": {"0.weight": np.float32([[1, 2], [3, 4]]), "0.bias": np.float32([0.1, -0.0])},
    "optimizer": {"exp_avg_sq": np.float64([1e-300, 0.1]), "steps": np.array(7)},
    "judge": {"solved": np.array(True), "recent_returns": np.zeros(0)},
}


def save(path, progress=PROGRESS, state=STATE):
    checkpoint.save(path, CONFIG, progress, VERSIONS, state)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "x.safetensors"
    save(path)
    return path


def test_what_is_saved_is_loaded(saved):
    loaded = checkpoint.load(saved)
    assert (loaded.path, loaded.config, loaded.progress, loaded.versions) == (saved, CONFIG, PROGRESS, VERSIONS)
    assert len(loaded.arrays) == 6
    for part, originals in STATE.items():
        found = loaded.part(part)
        assert found.keys() == originals.keys()
        for name, values in originals.items():
            assert found[name].tobytes() == values.tobytes(), name
            assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape), name
    assert loaded.part("nothing") == {}


def test_parts_whose_names_begin_alike_are_kept_apart(tmp_path):
    save(tmp_path / "x", state={"agent": {"x": np.zeros(1)}, "agents": {"y": np.zeros(1)}})
    assert list(checkpoint.load(tmp_path / "x").part("agent")) == ["x"]


def test_however_an_array_lies_in_memory_its_numbers_are_saved(tmp_path):
    numbers = np.arange(24, dtype=np.float32).reshape(4, 6)
    for number, values in enumerate((numbers.T, numbers[:, ::2], numbers[::-1])):
        save(tmp_path / str(number), state={"a": {"x": values}})
        assert np.array_equal(checkpoint.load(tmp_path / str(number)).part("a")["x"], values)


def test_numbers_that_are_not_finite_are_refused(saved):
    for number in (np.nan, np.inf):
        save(saved, state=STATE | {"rewards": {"var": np.array([1.0, number])}})
        with pytest.raises(CheckpointError, match=r"x.safetensors: rewards.var has numbers that are not finite"):
            checkpoint.load(saved)


def test_the_header_is_one_entry_of_sorted_json(saved):
    content = saved.read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    assert list(header["__metadata__"]) == ["ppocli"]
    entry = header["__metadata__"]["ppocli"]
    assert entry == json.dumps(json.loads(entry), sort_keys=True)
    assert json.loads(entry)["format"] == 2


def test_saving_is_reproducible_and_leaves_nothing_else(saved, tmp_path):
    before = saved.read_bytes()
    save(saved)
    assert saved.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_failed_write_leaves_the_old_file_and_no_other(saved, tmp_path, monkeypatch):
    before = saved.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(saved, replace(PROGRESS, iterations=4))
    assert saved.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_torn_files_are_refused(saved, tmp_path):
    content = saved.read_bytes()
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
    save_file({"agent.x": np.zeros(2)}, path, {"ppocli": header} if header else None)
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
    text = json.dumps(whole)
    assert "not a checkpoint of ppocli" in foreign(path, text.replace('"versions"', '"format": 2, "versions"'))  # twice
    for constant in ("NaN", "Infinity", "-Infinity"):
        assert "not a checkpoint of ppocli" in foreign(path, text.replace("1.5", constant))
    header["progress"] = vars(PROGRESS)
    assert "the config inside" in foreign(path, json.dumps(header | {"config": {"env": {"id": "os:system"}}}))


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(saved, monkeypatch):
    original = os.fstat

    def replaced(descriptor):
        monkeypatch.setattr(os, "fstat", original)
        save(saved, replace(PROGRESS, iterations=4), STATE | {"more": {"x": np.zeros(100)}})
        return original(descriptor)

    monkeypatch.setattr("ppocli.records.checkpoint.os.fstat", replaced)
    assert checkpoint.load(saved).progress.iterations == 3
    assert checkpoint.load(saved).progress.iterations == 4


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "x.safetensors")


def test_a_part_that_does_not_fit_is_named(saved):
    error = checkpoint.load(saved).misfit("agent")
    assert str(error) == f"{saved}: its agent does not fit CartPole-v1 and its own config"
