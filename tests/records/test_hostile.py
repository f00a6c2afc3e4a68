"""Files from strangers, and files that a disk has damaged: each is refused in one line, and nothing in it runs."""

import contextlib
import hashlib
import json
import math
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ppocli.config.load import load_config, parse_config
from ppocli.config.models import Config
from ppocli.errors import CheckpointError, UsageError
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Progress
from ppocli.records.run import Run
from tests.cli.commands import PATIENCE_SECONDS
from tests.jobs import train

CONFIG = Config.model_validate(
    {
        "env": {"id": "CartPole-v1", "num_envs": 2},
        "network": {"hidden_sizes": [4]},
        "rollout": {"horizon": 16},
        "update": {"minibatch_size": 16},
        "train": {"env_steps": 64, "eval_episodes": 1},
    }
)
SAMPLE = 60
"""Of the thousands of changes that a slow test makes, the others make so many."""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run that has been interrupted after the first of its two iterations."""
    run = Run(tmp_path_factory.mktemp("run") / "run")
    with closing(train(CONFIG, run)) as training:
        next(training)
    return run


@pytest.fixture(scope="module")
def content(interrupted):
    """A whole checkpoint, as bytes."""
    path = interrupted.checkpoint("last")
    checkpoint.load(path)
    return path.read_bytes()


def header_length(content):
    return struct.unpack("<Q", content[:8])[0]


def refusal(path):
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    return message


def count_accepted(path, content, changes):
    """How many of the changed files are loaded; `changes` yields (position, byte)."""
    path.write_bytes(content)
    accepted = 0
    with path.open("r+b", buffering=0) as file:
        for position, byte in changes:
            os.pwrite(file.fileno(), bytes([byte]), position)
            try:
                checkpoint.load(path)
                accepted += 1
            except CheckpointError:
                pass
            os.pwrite(file.fileno(), content[position : position + 1], position)
    checkpoint.load(path)  # all is as it was
    return accepted


def flips(content, bits):
    for bit in bits:
        yield bit // 8, content[bit // 8] ^ (1 << bit % 8)


def sampled(seed, population, number):
    """So many of a population, in its order; all of it for None."""
    return population if number is None else sorted(random.Random(seed).sample(population, number))


few_and_all = pytest.mark.parametrize("number", [SAMPLE, pytest.param(None, marks=pytest.mark.slow, id="all")])


@few_and_all
def test_flipped_bits_of_the_header_are_found(content, tmp_path, number):
    bits = sampled(0, range(8 * (8 + header_length(content))), number)
    assert count_accepted(tmp_path / "x.safetensors", content, flips(content, bits)) == 0


@few_and_all
def test_flipped_bits_of_the_tensors_are_found(content, tmp_path, number):
    thousand = sampled(1, range(8 * (8 + header_length(content)), 8 * len(content)), 1000)
    bits = sampled(2, thousand, number)
    assert count_accepted(tmp_path / "x.safetensors", content, flips(content, bits)) == 0


@few_and_all
def test_every_truncation_is_found(content, tmp_path, number):
    path, start = tmp_path / "x.safetensors", 8 + header_length(content)
    lengths = {*range(start), *sampled(3, range(start, len(content)), 1000)}
    ends = {0, 1, 7, 8, 9, start - 1, start, start + 1, len(content) - 1}
    path.write_bytes(content)
    for length in sorted({*sampled(4, sorted(lengths), number), *ends}, reverse=True):
        os.truncate(path, length)
        assert "not a checkpoint, or a damaged one" in refusal(path)


def test_more_bytes_at_the_end_are_found(content, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content + b"\0")
    assert "its content does not match its digest" in refusal(path)
    path.write_bytes(signed(content + b"\0"))
    assert "not a checkpoint, or a damaged one" in refusal(path)


# ----------------------------------------------------------------------------------------------------------------------
# Files that were made to harm


class Evil:
    """What a pickle does when it is loaded."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def signed(content, change=lambda entry: None, forge=lambda layout: None):
    """The checkpoint with a changed entry, and layout, in its header, under a digest that is right.

    As someone writes it who has read how. `forge` changes the layout, or returns bytes for the header.
    """
    length = header_length(content)
    layout = json.loads(content[8 : 8 + length])
    entry = json.loads(layout["__metadata__"]["ppocli"])
    change(entry)
    entry["digest"] = "#" * 64
    layout["__metadata__"]["ppocli"] = json.dumps(entry)
    forged = forge(layout)
    text = forged if isinstance(forged, bytes) else json.dumps(layout).encode()
    whole = struct.pack("<Q", len(text)) + text + content[8 + length :]
    return whole.replace(b"#" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


def overlapping(layout):
    first, second = [name for name in layout if name != "__metadata__"][:2]
    layout[second]["data_offsets"] = layout[first]["data_offsets"]


def terabytes(layout):
    layout["agent.actor.0.weight"] = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}


def negative(layout):
    layout["agent.actor.0.weight"]["shape"] = [-4, -4]


def text_as_shape(layout):
    layout["agent.actor.0.weight"]["shape"] = ["ab", 10**9]


def twice(layout):
    text = json.dumps(layout)
    return text.replace('"agent.actor.0.bias"', '"agent.actor.0.weight"', 1).encode()


def deep(layout):
    return b'{"__metadata__":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def long_number(layout):
    return b'{"x":' + b"9" * 5000 + b"}"


def gap(layout):
    size = max(place["data_offsets"][1] for name, place in layout.items() if name != "__metadata__")
    layout["agent.new"] = {"dtype": "BOOL", "shape": [], "data_offsets": [size + 1, size + 2]}


def no_place(layout):
    layout["agent.new"] = None


def dimensions(layout):
    layout["agent.new"] = empty(layout, "F32", [0] * 70)


def exabytes_of_nothing(layout):
    layout["agent.new"] = empty(layout, "F32", [2**62, 0])


def product_beyond_all_numbers(layout):
    layout["agent.actor.0.weight"]["shape"] = [2**33, 2**33]


def other_numbers(layout):
    layout["agent.new"] = empty(layout, "BF16", [0])


def empty(layout, dtype, shape):
    size = max(place["data_offsets"][1] for name, place in layout.items() if name != "__metadata__")
    return {"dtype": dtype, "shape": shape, "data_offsets": [size, size]}


FORGED = [
    *(overlapping, terabytes, negative, text_as_shape, twice, deep, long_number),
    *(gap, no_place, dimensions, exabytes_of_nothing, product_beyond_all_numbers, other_numbers),
]


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_a_digest_that_is_right_does_not_help(content, tmp_path, forge):
    path = tmp_path / "x.safetensors"
    path.write_bytes(signed(content))
    checkpoint.load(path)  # it is what is forged that counts
    path.write_bytes(signed(content, forge=forge))
    assert "does not match its digest" not in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry["progress"].update(iterations="8"),
        lambda entry: entry["progress"].update(env_steps=True),
        lambda entry: entry["progress"].update(more=1),
        lambda entry: entry["versions"].update(torch=2),
        lambda entry: entry.update(more=1),
        lambda entry: entry.update(config=[]),
    ],
    ids=["text for a number", "truth for a number", "unknown progress", "number for text", "unknown key", "no mapping"],
)
def test_a_header_of_other_types_is_refused(content, tmp_path, change):
    path = tmp_path / "x.safetensors"
    path.write_bytes(signed(content, change))
    assert "not a checkpoint of ppocli" in refusal(path)


def hostile_files(folder, content):
    """Write every kind of hostile file; return their paths."""
    files = {
        "pickle": pickle.dumps(Evil()),
        "empty": b"",
        "terabyte-header": struct.pack("<Q", 10**12) + b"{}",
        "zero-header": struct.pack("<Q", 0) + b"{}" * 100,
        "text": b"\x1b[2J\x1b]0;owned\x07" * 100,
        **{forge.__name__: signed(content, forge=forge) for forge in FORGED},
    }
    for name, data in files.items():
        (folder / f"{name}.safetensors").write_bytes(data)
    torch.save({"weights": Evil()}, folder / "torch-zip.safetensors")
    with zipfile.ZipFile(folder / "stable-baselines3.safetensors", "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {":type:": "<class>", ":serialized:": "gASV"}}))
        archive.writestr("policy.pth", pickle.dumps(Evil()))
    for name, begin, size in (
        ("nothing", b"", 3 << 40),
        ("long-header", struct.pack("<Q", 64 << 20), 128 << 20),
        ("long-tail", content, checkpoint.MAX_BYTES + 1),
    ):
        with (folder / f"{name}.safetensors").open("wb") as file:  # sparse: it takes no room
            file.write(begin)
            file.truncate(size)
    return sorted(folder.glob("*.safetensors"))


WATCHED = """
import sys, tracemalloc
from pathlib import Path
from ppocli.errors import CheckpointError
from ppocli.records import checkpoint
allowed, seen, read = set(), [], []
def hook(event, arguments):
    if event in ("exec", "compile", "import", "os.system", "subprocess.Popen", "pickle.find_class", "socket.connect"):
        seen.append((event, str(arguments)[:80]))
    if event == "open" and str(arguments[0]) not in allowed:
        seen.append((event, str(arguments[0])))
def counted(path, *arguments, opened=Path.open):
    file = opened(path, *arguments)
    def reading(size=-1, original=file.read):
        content = original(size)
        read.append(len(content))
        return content
    file.read = reading
    return file
Path.open = counted
try:
    checkpoint.load(Path(sys.argv[1]).with_name("warm-up"))
except CheckpointError:
    pass
tracemalloc.start()
sys.addaudithook(hook)
for name in sys.argv[1:]:
    allowed.add(name)
    read.clear()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        checkpoint.load(Path(name))
        print("LOADED", name)
    except CheckpointError as error:
        assert len(str(error).splitlines()) == 1, error
    taken = tracemalloc.get_traced_memory()[1] - before
    assert read and read[0] <= 8, (name, read)
    assert sum(read) < 1 << 20, (name, read)
    assert taken < 32 << 20, (name, taken)
print(len(sys.argv) - 1, "refused;", seen)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sparse files")
def test_hostile_checkpoints_run_nothing_import_nothing_open_nothing_and_take_no_memory(content, tmp_path):
    files = hostile_files(tmp_path, content)
    command = [sys.executable, "-c", WATCHED, *map(str, files)]
    outcome = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE_SECONDS)
    assert outcome.stdout == f"{len(files)} refused; []\n", outcome.stderr
    assert not (tmp_path / "executed").exists()


def test_hostile_checkpoints_are_one_clean_line_of_the_command(content, tmp_path, ppocli):
    for path in hostile_files(tmp_path, content):
        outcome = ppocli("evaluate", str(path))
        assert (outcome.exit_code, outcome.stdout) == (1, "")
        assert len(outcome.stderr.splitlines()) == 1
        assert outcome.stderr.strip().isprintable()


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("env", {"id": "os:system"}, "one that imports a module is not accepted"),
        ("env", {"id": "CartPole-v1", "kwargs": {"file": "/etc/passwd"}}, "plain words"),
        ("env", {"id": "CartPole-v1", "kwargs": {"file": "model.xml"}}, "plain words"),
        ("env", {"id": "CartPole-v1", "kwargs": {"callback": {"__reduce__": 1}}}, "plain words"),
        ("network", {"hidden_sizes": [10**9]}, "must be a whole number"),
        ("network", {"hidden_sizes": [8192] * 8}, "at most 50,000,000 are allowed"),
        ("network", {"hidden_sizes": [7000, 7000]}, "does not fit"),
        ("env", {f"key{number}": 1 for number in range(5000)}, "and 4"),
    ],
)
def test_a_config_inside_is_held_to_the_same_rules(content, tmp_path, ppocli, section, values, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(signed(content, lambda entry: entry["config"].update({section: values})))
    outcome = ppocli("evaluate", str(path))
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


@given(st.binary(max_size=400))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_a_checkpoint_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    for content in (data, struct.pack("<Q", len(data)) + data):
        path.write_bytes(content)
        refusal(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


SMALL = st.integers(-2, 2**66) | st.sampled_from([0, 1, 8, 2**31, 2**62, 2**63]) | JSON


@given(st.sampled_from(["F32", "F64", "I64", "BOOL", "F8"]), st.lists(SMALL, max_size=70), st.lists(SMALL, max_size=3))
@settings(deadline=None, max_examples=300)
def test_any_tensor_under_a_true_header_is_a_checkpoint_error(content, tmp_path_factory, dtype, shape, offsets):
    def forge(layout):
        layout["agent.new"] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}

    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    path.write_bytes(signed(content, forge=forge))
    with contextlib.suppress(CheckpointError):
        checkpoint.load(path)
        assert math.prod(shape) == 0  # an empty one more fits anywhere; no agent is built from it


@example(field="iterations", value=2**64)
@given(st.sampled_from(list(Progress.__dataclass_fields__)), JSON)
@settings(deadline=None, max_examples=200)
def test_any_progress_is_loaded_as_its_type_or_refused(content, tmp_path_factory, field, value):
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    path.write_bytes(signed(content, lambda entry: entry["progress"].update({field: value})))
    try:
        found = getattr(checkpoint.load(path).progress, field)
    except CheckpointError:
        return
    assert found is None or (math.isfinite(found) if isinstance(found, float) else found >= 0)


@given(JSON, JSON)
@settings(deadline=None, max_examples=200)
def test_any_header_is_a_checkpoint_error(tmp_path_factory, entry, place):
    layout = {"__metadata__": {"ppocli": json.dumps(entry)}, "agent.x": place}
    text = json.dumps(layout).encode()
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    refusal(path)


# ----------------------------------------------------------------------------------------------------------------------
# Configs


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch executed']",
        "env: !!python/name:os.system",
        BOMB,
        f"env:\n  id: CartPole-v1\n  kwargs: {{x: *a}}\n{BOMB}",
        f"{BOMB}env: {{id: *i}}",
        f"{BOMB}env: {{id: CartPole-v1, kwargs: {{x: *i}}}}",
        f"{BOMB}? *i\n: 1",
        f"{BOMB}env: *i",
        f"{BOMB}network: {{hidden_sizes: *i}}",
        "env: {id: CartPole-v1}\nenv: {id: Acrobot-v1}",
        f"env: {{id: CartPole-v1, num_envs: {'9' * 5000}}}",
        "env: {id: CartPole-v1}\nrollout: {gamma: .nan}",
        "env: {id: CartPole-v1}\nppo: {norm_adv: no}",
        "env: {id: CartPole-v1, num_envs: true}",
        "",
        "\x00\x01\x02",
        "- env",
        "[" * 100_000,
        "env: {id: '\x1b[2J'}",
        "env: {id: 'os:system'}",
        "env: {id: CartPole-v1, kwargs: {xml_file: ../secret.xml}}",
    ],
    ids=range(21),
)
def test_hostile_configs_are_one_clean_line(text, tmp_path, ppocli):
    (tmp_path / "x.yaml").write_text(text)
    outcome = ppocli("train", "--config", "x.yaml")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert len(outcome.stderr.splitlines()) == 1
    assert outcome.stderr.strip().isprintable()
    assert len(outcome.stderr) < 2000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.yaml"]


def test_a_config_with_thousands_of_mistakes_is_a_short_line():
    with pytest.raises(UsageError) as refused:
        parse_config({"env": {f"key{number}": 1 for number in range(20_000)}}, "x")
    assert "; and 19996 more" in str(refused.value)  # the missing id among them
    assert len(str(refused.value)) < 2000


def test_a_binary_config(tmp_path):
    (tmp_path / "x.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(UsageError, match="not a UTF-8 text file"):
        load_config(str(tmp_path / "x.yaml"))


@given(st.text(max_size=200))
@settings(deadline=None, max_examples=300)
def test_any_text_is_a_config_or_a_usage_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "x.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with contextlib.suppress(UsageError):
        load_config(str(path))


@given(JSON, st.sampled_from(list(Config.model_fields)), st.sampled_from(["id", "kwargs", "gamma", "seed"]))
@settings(deadline=None, max_examples=300)
def test_any_values_are_a_config_or_a_usage_error(value, section, key):
    for values in (value, {section: value}, {"env": {"id": "CartPole-v1"}, section: {key: value}}):
        with contextlib.suppress(UsageError):
            parse_config(values, "x")


def test_paths_do_not_leave_the_runs_directory(ppocli, tmp_path):
    for arguments in (("--name", "../../x"), ("--name", "/x"), ("--set", "env.id=../../x"), ("--set", "env.id=..")):
        outcome = ppocli("train", "--config", "cartpole", *arguments)
        assert outcome.exit_code == 2, arguments
    assert list(Path(tmp_path).iterdir()) == []


# ----------------------------------------------------------------------------------------------------------------------
# Run directories from strangers, to be resumed


@pytest.fixture
def stranger(interrupted, tmp_path):
    """A run that has been interrupted."""
    return Run(shutil.copytree(interrupted.path, tmp_path / "run"))


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
@pytest.mark.parametrize("name", ["metrics.csv", "episodes.csv", "checkpoints"])
def test_links_are_not_followed(stranger, tmp_path, ppocli, name):
    inside, outside = stranger.path / name, tmp_path / f"outside-{name}"
    inside.rename(outside)
    before = outside.read_bytes() if outside.is_file() else sorted(path.name for path in outside.iterdir())
    inside.symlink_to(outside)
    outcome = ppocli("train", "--resume", str(stranger.path))
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert len(outcome.stderr.splitlines()) == 1
    assert before == (outside.read_bytes() if outside.is_file() else sorted(path.name for path in outside.iterdir()))


def tampered(run, change):
    """Change the tensors of the newest checkpoint, under a digest that is right."""
    saved = checkpoint.load(run.checkpoint("last"))
    arrays = dict(saved.arrays)
    change(arrays)
    state = {}
    for name, values in arrays.items():
        part, _, key = name.partition(".")
        state.setdefault(part, {})[key] = values
    checkpoint.save(run.checkpoint("last"), saved.config, saved.progress, saved.versions, state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("judge.")],
            "does not hold what training has found out so far",
        ),
        (lambda arrays: arrays.update({"judge.recent_returns": np.array(1.0)}), "what training has found out so far"),
        (lambda arrays: arrays.update({"optimizer.steps": np.zeros(3)}), "its optimizer does not fit"),
        (lambda arrays: arrays.update({"optimizer.steps": np.array(1.0)}), "its optimizer does not fit"),
        (
            lambda arrays: arrays.update({"episodes.lengths": arrays["episodes.lengths"].astype(np.float64)}),
            "the episodes in the checkpoint are not those of such environments",
        ),
        (lambda arrays: arrays.update({"episodes.lengths": arrays["episodes.lengths"] + 2**40}), "the episodes in the"),
        (lambda arrays: arrays.update({"episodes.actions": arrays["episodes.actions"] + 7}), "does not"),
        (lambda arrays: arrays.update({"episodes.numbers": -arrays["episodes.numbers"]}), "the episodes in the"),
        (
            lambda arrays: arrays.update(
                {"agent.actor.0.bias": arrays["agent.actor.0.bias"].astype(np.float64) + 1e300}
            ),
            "its agent does not fit",
        ),
        (
            lambda arrays: arrays.update({"agent.actor.0.weight": arrays["agent.actor.0.weight"][:2]}),
            "its agent does not fit",
        ),
        (lambda arrays: arrays.pop("rewards.var"), "its rewards does not fit"),
    ],
    ids=range(11),
)
def test_a_state_that_no_run_can_have_is_one_line(stranger, ppocli, change, message):
    tampered(stranger, change)
    outcome = ppocli("train", "--resume", str(stranger.path))
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"resumed": 5}', "[" * 100_000, '{"x":' + "9" * 5000 + "}"], ids=range(5))
def test_a_run_json_that_is_none(stranger, ppocli, text):
    (stranger.path / "run.json").write_text(text)
    before = (stranger.path / "metrics.csv").read_bytes()
    outcome = ppocli("train", "--resume", str(stranger.path))
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert len(outcome.stderr.splitlines()) == 1
    assert (stranger.path / "metrics.csv").read_bytes() == before


def test_versions_in_a_checkpoint_cannot_steer_the_terminal(stranger, ppocli):
    path = stranger.checkpoint("last")
    path.write_bytes(signed(path.read_bytes(), lambda entry: entry["versions"].update(torch="\x1b]0;owned\x07" * 9999)))
    outcome = ppocli("train", "--resume", str(stranger.path))
    assert outcome.exit_code == 0
    assert "warning: the last bits may differ" in outcome.stderr
    assert "\x1b" not in outcome.stderr
    assert len(outcome.stderr) < 4000
