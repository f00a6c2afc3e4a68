"""What a run says of the commands that trained it, also where only their words are known."""

import json

import pytest

from ppocli.records.info import Command, Resumed, RunInfo, command_of


def of_words(*words):
    """What is made of the words of a command, as version 0.1 recorded them."""
    return RunInfo.model_validate_json(json.dumps({"command": ["ppocli", "train", *words]}))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ((), ""),
        (("--config", "lunar"), "lunar"),
        (("--config=lunar",), "lunar"),
        (("--config", "notebook/lunar"), "notebook/lunar"),  # a preset of that name
        (("--config", "configs/lunar.yaml"), "lunar"),
        (("--config", "C:\\Users\\me\\small.yaml"), "small"),
        (("--config", "lunar", "--config", "my/own.yml"), "own"),  # the last one counts
        (("--config", "a\x1b[2Jb.yaml"), "a [2Jb"),
        (("--config",), ""),
    ],
)
def test_the_name_of_a_config_is_in_the_words(words, name):
    assert of_words(*words).config_name == name
    if len(words) == 2:
        assert command_of([], words[1], []).config_name == name


def test_what_was_set_is_in_the_words():
    info = of_words("--set", "ppo.gamma=0.9", "--seed", "3", "--set=train.env_steps=5", "--quiet")
    assert info.overrides == ["ppo.gamma=0.9", "train.env_steps=5"]
    assert info.command == [
        "ppocli",
        "train",
        *("--set", "ppo.gamma=0.9", "--seed", "3"),
        "--set=train.env_steps=5",
        "--quiet",
    ]


def test_what_is_recorded_by_itself_is_not_looked_for_in_the_words():
    words = {"command": ["train", "--config", "lunar", "--set", "a=1"]}
    info = RunInfo.model_validate(words | {"config_name": "own", "overrides": []})
    assert (info.config_name, info.overrides) == ("own", [])
    again = RunInfo.model_validate_json(json.dumps(RunInfo.model_validate(words).model_dump()))
    assert again == RunInfo.model_validate(words)


def test_a_command_and_what_it_asked_for():
    command = command_of(["ppocli", "train"], "my/own.yaml", ["train.seed=1"])
    assert command == Command(command=["ppocli", "train"], config_name="own", overrides=["train.seed=1"])


@pytest.mark.parametrize(
    ("resumed", "changed"),
    [
        (Resumed(), False),
        (Resumed(command=["train", "--resume", "latest"], overrides=[]), False),
        (Resumed(overrides=["train.env_steps=5"]), True),
        (Resumed(exact=False), True),
        (Resumed.model_validate({"command": ["train", "--resume", "latest"]}), False),
        (Resumed.model_validate({"command": ["train", "--resume", "latest", "--set", "train.env_steps=5"]}), True),
    ],
)
def test_an_interruption_alone_changes_nothing(resumed, changed):
    assert resumed.changed_something is changed
