"""The config's JSON schema, as editors read it."""

import json
import re
from pathlib import Path

import pytest
import yaml

from ppocli.config.load import parse_yaml, preset_folder, preset_names
from ppocli.config.models import KEYS
from ppocli.config.schema import schema

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]
FILES = [*(preset_folder() / f"{name}.yaml" for name in preset_names()), *sorted((ROOT / "examples").glob("*.yaml"))]
VALIDATOR = jsonschema.Draft202012Validator(schema())


class NewerYaml(yaml.SafeLoader):
    """YAML 1.2, to which 1_000 is text: only what is digits alone is a number."""


NewerYaml.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float"))]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def errors(values):
    return [error.message for error in VALIDATOR.iter_errors(json.loads(json.dumps(values)))]


def test_it_is_a_schema():
    VALIDATOR.check_schema(schema())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_config_of_ours_is_valid(path):
    assert errors(parse_yaml(path.read_text(), path.name)) == []


def test_numbers_with_underscores_are_valid_where_they_are_text():
    values = yaml.load("train: {env_steps: 1_000_000, seed: 3}\nupdate: {learning_rate: 2.5e-4}", NewerYaml)
    assert values["train"]["env_steps"] == "1_000_000"
    assert errors({"env": {"id": "x"}, **values}) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"env": {"id": "x", "num_env": 3}},
        {"env": {"id": "x", "num_envs": "three"}},
        {"env": {}},
        {"env": {"id": "x"}, "network": {"activation": "swish"}},
        {"env": {"id": "x"}, "network": {"memory": {"kind": "lstm"}}},
        {"env": {"id": "x"}, "update": {"learning_rate": {"start": 1}}},
        {"env": {"id": "x"}, "training": {}},
    ],
)
def test_what_is_wrong_is_found(wrong):
    assert len(errors(wrong)) >= 1


def test_every_key_is_in_it_with_what_it_means():
    whole = schema()
    for name in KEYS:
        part = whole
        for word in name.split("."):
            section = whole["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
            part = section["properties"][word]
        assert part["description"], name
        assert name == "env.id" or "default" in part


def test_the_command_prints_it(ppocli):
    outcome = ppocli("schema")
    assert json.loads(outcome.stdout) == json.loads(json.dumps(schema()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_presets_carry_it(path):
    if path.is_relative_to(preset_folder()):
        (named,) = re.findall(r"^# yaml-language-server: \$schema=(.*)$", path.read_text(), re.MULTILINE)
        assert json.loads((path.parent / named).read_text()) == json.loads(json.dumps(schema())), (
            "ppocli schema > configs/schema.json"
        )
