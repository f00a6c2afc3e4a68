import json

import pytest

from ppocli.errors import RunError, UsageError
from ppocli.records.run import Run, baseline_folder, environment_folder, new_run
from ppocli.records.writer import RunWriter
from tests.records.runs import CONFIG, create


def test_names(tmp_path):
    run = new_run(tmp_path, CONFIG, "try")
    assert run.path.parent == tmp_path / "Some-Thing-v1"
    time, seed, name = run.path.name.split("-")
    assert (len(time), seed, name) == (len("20260102T030405Z"), "seed3", "try")
    assert not run.path.parent.exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", "x\n"])
def test_names_that_could_lead_elsewhere(tmp_path, name):
    with pytest.raises(UsageError, match="--name"):
        new_run(tmp_path, CONFIG, name)


def test_where_things_lie(tmp_path):
    assert environment_folder(tmp_path, "A/B-v0") == tmp_path / "A-B-v0"
    run = Run(tmp_path / "CartPole-v1" / "x")
    assert run.baseline == baseline_folder(tmp_path, "CartPole-v1") == tmp_path / "CartPole-v1" / "random-baseline"
    assert run.evaluation == run.path / "evaluation.json"
    assert run.checkpoint("best") == run.path / "checkpoints" / "best.safetensors"


def test_it_stands_for_its_best_checkpoint_or_for_the_newest(tmp_path):
    run = create(tmp_path)
    with pytest.raises(RunError, match="no checkpoint in it"):
        run.chosen_checkpoint()
    for name in ("previous", "last", "best"):
        run.checkpoint(name).touch()
        assert run.chosen_checkpoint() == run.checkpoint(name)


def test_whether_a_trainer_is_at_work(tmp_path):
    run = create(tmp_path)
    assert not run.is_locked
    writer = RunWriter(run)
    writer.lock()
    assert Run(run.path).is_locked
    writer.close()
    assert not run.is_locked
    assert not Run(tmp_path / "nowhere").is_locked


def test_what_is_written_is_read(tmp_path):
    run = create(tmp_path)
    assert run.exists
    assert not Run(tmp_path / "other").exists
    assert run.config == CONFIG
    assert run.info.versions == {"torch": "2"}
    assert (run.metrics(), run.episodes()) == ([], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "run.json: cannot read it: Input should be an object"),
        ('{"solved": 3}', "run.json: cannot read it: solved: Input should be an object"),
        ('{"name": 7}', "run.json: cannot read it: name: Input should be a valid string"),
        ('{"target_return": 1e300}', "run.json: cannot read it: target_return: Input should be less than"),
        ('{"command": "train"}', "run.json: cannot read it: command: Input should be a valid array"),
        ('{"command": [1]}', r"run.json: cannot read it: command.0: Input should be a valid string"),
        ('{"resumed": [{"env_steps": -1}]}', "run.json: cannot read it: resumed.0.env_steps: Input should be greater"),
    ],
)
def test_a_run_json_that_is_none_is_named_with_the_place(tmp_path, text, message):
    run = create(tmp_path)
    (run.path / "run.json").write_text(text)
    with pytest.raises(RunError, match=message):
        _ = run.info


def test_a_run_json_that_is_missing_is_named(tmp_path):
    with pytest.raises(RunError, match=r"run.json: cannot read it: No such file"):
        _ = Run(tmp_path).info


def test_what_later_versions_say_is_kept(tmp_path):
    run = create(tmp_path)
    (run.path / "run.json").write_text(json.dumps({"later": [1], "name": "x"}))
    RunWriter(run).record(error="gone")
    assert json.loads((run.path / "run.json").read_text())["later"] == [1]
    assert (run.info.name, run.info.error) == ("x", "gone")
