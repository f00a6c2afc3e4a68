"""The config's rules, and the words in which it refuses."""

import pytest
from pydantic import ValidationError

from ppocli.config.load import load_config, parse_config, parse_yaml, preset_names
from ppocli.config.models import Config
from ppocli.config.values import Schedule
from ppocli.errors import UsageError


def refusal(values) -> str:
    with pytest.raises(UsageError) as refused:
        parse_config({"env": {"id": "CartPole-v1"}} | values, "my.yaml")
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def config_file(tmp_path):
    def write(text):
        path = tmp_path / "my.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_only_the_environment_is_required():
    config = parse_config({"env": {"id": "CartPole-v1"}}, "my.yaml")
    assert (config.ppo.gamma, config.train.seed, config.train.device) == (0.99, 0, "auto")
    assert parse_config({"env": {"id": "Acrobot-v1"}}, "my.yaml").num_iterations > 0


@pytest.mark.parametrize(("value", "meaning"), [("auto", "auto"), (0, 0), (3, 3), (2.0, 2)])
def test_workers(value, meaning):
    assert parse_config({"env": {"id": "CartPole-v1", "workers": value}}, "my.yaml").env.workers == meaning


@pytest.mark.parametrize("value", [-1, 1.5, 65, True, "two", None])
def test_refused_workers(value):
    message = refusal({"env": {"id": "CartPole-v1", "workers": value}})
    assert message == f"my.yaml: env.workers: {value!r} must be auto or a whole number from 0 to 64"


def test_backends():
    assert parse_config({"env": {"id": "CartPole-v1", "backend": "envpool"}}, "my.yaml").env.backend == "envpool"
    message = refusal({"env": {"id": "CartPole-v1", "backend": "async"}})
    assert message == "my.yaml: env.backend: 'async' must be one of 'gymnasium' or 'envpool'"


def test_missing_environment():
    with pytest.raises(UsageError, match=r"^my.yaml: env.id: missing"):
        parse_config({"env": {}}, "my.yaml")
    with pytest.raises(UsageError, match=r"^my.yaml: env: missing"):
        parse_config({}, "my.yaml")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ppo": {"gama": 0.9}}, "my.yaml: ppo.gama: unknown key, did you mean gamma?"),
        ({"pppo": {}}, "my.yaml: pppo: unknown key, did you mean ppo?"),
        ({"ppo": {"gamma": 1.5}}, "my.yaml: ppo.gamma: 1.5 must be a finite number from 0 to 1"),
        ({"ppo": {"gamma": True}}, "my.yaml: ppo.gamma: True must be a finite number from 0 to 1"),
        ({"ppo": {"gamma": "0.9"}}, "my.yaml: ppo.gamma: '0.9' must be a finite number from 0 to 1"),
        ({"ppo": {"max_grad_norm": 0}}, "my.yaml: ppo.max_grad_norm: 0 must be a finite number above 0"),
        ({"ppo": {"vf_coef": float("nan")}}, "my.yaml: ppo.vf_coef: nan must be a finite number from 0 to 1e+06"),
        ({"ppo": {"horizon": 0}}, "my.yaml: ppo.horizon: 0 must be a whole number from 1 to 100,000"),
        ({"ppo": {"horizon": 1.5}}, "my.yaml: ppo.horizon: 1.5 must be a whole number from 1 to 100,000"),
        ({"ppo": {"horizon": True}}, "my.yaml: ppo.horizon: True must be a whole number from 1 to 100,000"),
        ({"ppo": {"minibatch_size": 1}}, "my.yaml: ppo.minibatch_size: 1 must be a whole number from 2 to 10,000,000"),
        (
            {"ppo": {"learning_rate": -1}},
            "my.yaml: ppo.learning_rate: -1 must be a number from 0 to 1e6, or a schedule such as",
        ),
        (
            {"ppo": {"learning_rate": {"start": 1, "stop": 0}}},
            "my.yaml: ppo.learning_rate.end: missing; give it a value; "
            "ppo.learning_rate.stop: unknown key (known: start, end, shape)",
        ),
        (
            {"ppo": {"clip_coef": {"start": 1, "end": 0, "shape": "step"}}},
            "my.yaml: ppo.clip_coef.shape: 'step' must be one of 'linear' or 'cosine'",
        ),
        ({"network": {"hidden_sizes": [64, 0]}}, "network.hidden_sizes.1: 0 must be a whole number from 1 to 8,192"),
        ({"network": {"hidden_sizes": 64}}, "64 must be a list of at most 8 whole numbers, such as [64, 64]"),
        ({"ppo": {"vf_coef": 10**400}}, "must be a finite number from 0 to 1e+06"),
        ({"schedule": 1}, "my.yaml: schedule: unknown key"),
        ({"env_id": "A-v1"}, "my.yaml: env_id: unknown key, did you mean env.id?"),
        ({"ppo": {"clip_coef": {"start:1": None, "end": 0}}}, "ppo.clip_coef.start:1: not a key; YAML wants a space"),
        ({"ppo": {"schedule": 1}}, "my.yaml: ppo.schedule: unknown key"),
        ({"ppo": {"learning_rate": "fast"}}, "'fast' must be a number from 0 to 1e6, or a schedule"),
        ({"network": {"activation": "sin"}}, "my.yaml: network.activation: 'sin' must be one of 'tanh', 'relu'"),
        ({"network": {"normalize_obs": 1}}, "my.yaml: network.normalize_obs: 1 must be true or false"),
        ({"network": {"init": "zero"}}, "my.yaml: network.init: 'zero' must be one of 'orthogonal' or 'uniform'"),
        ({"ppo": {"target_kl": True}}, "my.yaml: ppo.target_kl: True must be a finite number above 0"),
        ({"train": {"seed": -1}}, "my.yaml: train.seed: -1 must be a whole number from 0 to 4,294,967,295"),
        ({"train": 3}, "my.yaml: train: 3 must be a mapping with some of env_steps, seed"),
        ({"env": {"id": "os:system"}}, "my.yaml: env.id: 'os:system' must be a Gymnasium id"),
        ({"env": {"id": "A-v1", "kwargs": {"render_mode": "human"}}}, "must not set render_mode"),
        ({"env": {"id": "A-v1", "kwargs": {"xml_file": "/etc/passwd"}}}, "plain words; xml_file is '/etc/passwd'"),
        ({"env": {"id": "A-v1", "kwargs": {"a": [1]}}}, "must hold only numbers, true or false, and plain words"),
    ],
)
def test_refusals_name_key_value_and_range(values, expected):
    assert expected in refusal(values)


def test_a_minibatch_must_divide_the_batch_and_what_would_is_named():
    message = refusal({"env": {"id": "A-v1", "num_envs": 6}, "ppo": {"horizon": 50, "minibatch_size": 64}})
    assert "64 does not divide env.num_envs × ppo.horizon = 6 × 50 = 300; 60 would" in message
    assert "7 would" in refusal({"env": {"id": "A-v1", "num_envs": 7}, "ppo": {"horizon": 1, "minibatch_size": 3}})


@pytest.mark.parametrize(("num_envs", "horizon"), [(1, 1), (10_000, 100_000)])
def test_batches_that_cannot_be_learned_from(num_envs, horizon):
    message = refusal({"env": {"id": "A-v1", "num_envs": num_envs}, "ppo": {"horizon": horizon}})
    assert f"= {num_envs * horizon} samples; an update learns from 2 to 10,000,000" in message


def test_frozen():
    config = parse_config({"env": {"id": "CartPole-v1"}}, "my.yaml")
    with pytest.raises(ValidationError):
        config.ppo.gamma = 0.5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e6", 1e6),
        ("-1.5E+3", -1500.0),
        (".5", 0.5),
        ("100_000", 100_000),
        ("08", 8),
        ("010", 10),
        ("true", True),
        ("no", "no"),
        ("trueish", "trueish"),
        ("1:30", "1:30"),
        ("4x4", "4x4"),
        ("", None),
        ("null", None),
    ],
)
def test_yaml_is_read_as_people_mean_it(text, value):
    read = parse_yaml(text, "here")
    assert read == value
    assert type(read) is type(value)


def test_counts_may_be_written_as_floats():
    config = parse_config({"env": {"id": "A-v1"}, "train": parse_yaml("env_steps: 1e6", "here")}, "my.yaml")
    assert config.train.env_steps == 1_000_000
    assert type(config.train.env_steps) is int


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2", "a: [1", "!!python/object:os.system {}", "a: b: c", "\x00", "{[a]: 1}", "!!bool x", "!!float ''"],
)
def test_bad_yaml_is_one_line_with_its_place(text):
    with pytest.raises(UsageError, match=r"^here.*: not valid YAML: ") as refused:
        parse_yaml(text, "here")
    assert "\n" not in str(refused.value)


def test_env_steps_are_rounded_up_to_whole_iterations():
    config = parse_config({"env": {"id": "A-v1"}, "train": {"env_steps": 2049}}, "my.yaml")
    assert config.batch_size == 16 * 128
    assert config.num_iterations == 2


def test_set_overrides_any_key(config_file):
    path = config_file("env: {id: CartPole-v1}\nppo: {learning_rate: {start: 1e-3, end: 0}}")
    config = load_config(path, ["ppo.learning_rate.end=1e-4", "train.env_steps=1e4", "env.kwargs.gravity=5"], seed=7)
    assert config.ppo.learning_rate == Schedule(start=1e-3, end=1e-4)
    assert config.train.env_steps == 10_000
    assert config.train.seed == 7
    assert config.env.kwargs == {"gravity": 5}
    config = load_config(path, ["ppo.learning_rate={start: 1, end: 0, shape: cosine}"])
    assert config.ppo.learning_rate == Schedule(start=1, end=0, shape="cosine")


def test_set_enters_a_schedule_that_is_only_a_default(config_file):
    config = load_config(config_file("env: {id: CartPole-v1}\nppo:"), ["ppo.learning_rate.start=1e-3"])
    assert config.ppo.learning_rate == Schedule(start=1e-3, end=0)


def test_set_changes_one_place_even_where_yaml_uses_a_mapping_twice(config_file):
    path = config_file("env: {id: A-v1}\nppo: {learning_rate: &s {start: 1, end: 0}, ent_coef: *s}")
    config = load_config(path, ["ppo.ent_coef.start=0.5"])
    assert (config.ppo.learning_rate.start, config.ppo.ent_coef.start) == (1, 0.5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ppo.gamma", "write it as KEY=VALUE"),
        ("=3", "write it as KEY=VALUE"),
        ("ppo.clip_coef.end=0", "ppo.clip_coef is 0.2 here and has no parts"),
        ("ppo.gamma=[", "--set ppo.gamma, line 1, column 2: not valid YAML"),
        ("ppo.gamma=", "ppo.gamma: None must be a finite number from 0 to 1"),
        ("ppo.lr=1", "ppo.lr: unknown key"),
    ],
)
def test_bad_set(config_file, override, message):
    path = config_file("env: {id: CartPole-v1}\nppo: {clip_coef: 0.2}")
    with pytest.raises(UsageError) as refused:
        load_config(path, [override])
    assert message in str(refused.value)


def test_a_config_survives_its_own_yaml(config_file):
    text = "env: {id: CartPole-v1, kwargs: {a: true, b: 1.5e-7, c: word}}\nppo: {ent_coef: {start: 1e-2, end: 0}}"
    config = load_config(config_file(text))
    assert load_config(config_file(config.to_yaml())) == config


def test_presets_are_found_by_name_and_files_by_path(tmp_path):
    assert {"cartpole", "lunar"} <= set(preset_names())
    assert load_config("lunar").env.id == "LunarLander-v3"
    assert load_config("configs/lunar.yaml") == load_config("lunar")
    with pytest.raises(UsageError, match="did you mean lunar"):
        load_config("lunr")
    with pytest.raises(UsageError, match=r"nowhere/x.yaml: cannot read it: No such file"):
        load_config("nowhere/x.yaml")
    with pytest.raises(UsageError, match="cannot read it"):
        load_config(f"{tmp_path}/")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a UTF-8 text file"):
        load_config(f"{tmp_path}/binary.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="a config is a mapping"):
        load_config(f"{tmp_path}/list.yaml")


def test_every_section_has_the_words_of_the_field():
    assert set(Config.model_fields) == {"env", "network", "ppo", "train"}


def test_an_installed_package_has_its_presets_inside(tmp_path, monkeypatch):
    (tmp_path / "ppocli" / "configs" / "sub").mkdir(parents=True)
    (tmp_path / "ppocli" / "configs" / "sub" / "mine.yaml").write_text("env: {id: CartPole-v1}")
    monkeypatch.setattr("ppocli.config.__file__", str(tmp_path / "ppocli" / "config.py"))
    assert preset_names() == ["sub/mine"]
    assert load_config("sub/mine").env.id == "CartPole-v1"
