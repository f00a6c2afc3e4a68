"""The config's rules, and the words in which it refuses."""

import math

import pytest
from pydantic import ValidationError

from ppocli.config.load import load_config, load_stored_config, measured_in, parse_config, parse_yaml, preset_names
from ppocli.config.models import KEYS, RENAMED, Config
from ppocli.config.sections import ALGORITHMS, PPOConfig
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
    assert (config.algorithm, config.rollout.gamma, config.train.seed, config.train.device) == ("ppo", 0.995, 0, "auto")
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
    assert message == "my.yaml: env.backend: 'async' must be one of 'gymnasium', 'envpool' or 'vector'"


def test_missing_environment():
    with pytest.raises(UsageError, match=r"^my.yaml: env.id: missing"):
        parse_config({"env": {}}, "my.yaml")
    with pytest.raises(UsageError, match=r"^my.yaml: env: missing"):
        parse_config({}, "my.yaml")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"rollout": {"gama": 0.9}}, "my.yaml: rollout.gama: unknown key, did you mean gamma? (known: horizon, gamma,"),
        ({"ppo": {"gama": 0.9}}, "my.yaml: ppo.gama: unknown key, did you mean rollout.gamma? (known: clip_coef,"),
        ({"ppo": {"gamma": 1.5}}, "my.yaml: rollout.gamma: 1.5 must be a finite number from 0 to 1"),
        (
            {"train": {"learning_rate": 1}},
            "train.learning_rate: unknown key, did you mean update.learning_rate? (known:",
        ),
        ({"num_envs": 1}, "my.yaml: num_envs: unknown key, did you mean env.num_envs? (known: algorithm, env,"),
        ({"algorithm": "a2c"}, "my.yaml: algorithm: 'a2c' must be one of 'ppo', 'vpg', 'npg' or 'trpo'"),
        ({"pppo": {}}, "my.yaml: pppo: unknown key, did you mean ppo?"),
        ({"rollout": {"gamma": 1.5}}, "my.yaml: rollout.gamma: 1.5 must be a finite number from 0 to 1"),
        ({"rollout": {"gamma": True}}, "my.yaml: rollout.gamma: True must be a finite number from 0 to 1"),
        ({"rollout": {"gamma": "0.9"}}, "my.yaml: rollout.gamma: '0.9' must be a finite number from 0 to 1"),
        ({"update": {"max_grad_norm": 0}}, "my.yaml: update.max_grad_norm: 0 must be a finite number above 0"),
        ({"update": {"vf_coef": float("nan")}}, "my.yaml: update.vf_coef: nan must be a finite number from 0 to 1e+06"),
        ({"rollout": {"horizon": 0}}, "my.yaml: rollout.horizon: 0 must be a whole number from 1 to 100,000"),
        ({"rollout": {"horizon": 1.5}}, "my.yaml: rollout.horizon: 1.5 must be a whole number from 1 to 100,000"),
        ({"rollout": {"horizon": True}}, "my.yaml: rollout.horizon: True must be a whole number from 1 to 100,000"),
        (
            {"update": {"minibatch_size": 1}},
            "my.yaml: update.minibatch_size: 1 must be a whole number from 2 to 10,000,000",
        ),
        (
            {"update": {"learning_rate": -1}},
            "my.yaml: update.learning_rate: -1 must be a number from 0 to 1e6, or a schedule such as",
        ),
        (
            {"update": {"learning_rate": {"start": 1, "stop": 0}}},
            "my.yaml: update.learning_rate.end: missing; give it a value; "
            "update.learning_rate.stop: unknown key (known: start, end, shape)",
        ),
        (
            {"ppo": {"clip_coef": {"start": 1, "end": 0, "shape": "step"}}},
            "my.yaml: ppo.clip_coef.shape: 'step' must be one of 'linear' or 'cosine'",
        ),
        ({"network": {"hidden_sizes": [64, 0]}}, "network.hidden_sizes.1: 0 must be a whole number from 1 to 8,192"),
        ({"network": {"hidden_sizes": 64}}, "64 must be a list of at most 8 whole numbers, such as [64, 64]"),
        ({"update": {"vf_coef": 10**400}}, "must be a finite number from 0 to 1e+06"),
        ({"schedule": 1}, "my.yaml: schedule: unknown key"),
        ({"ppo": {"n_steps": 1}}, "my.yaml: ppo.n_steps: unknown key; here it is rollout.horizon"),
        ({"total_timesteps": 1}, "my.yaml: total_timesteps: unknown key; here it is train.env_steps"),
        ({"train": {"lr": 1}}, "my.yaml: train.lr: unknown key; here it is update.learning_rate"),
        ({"env": {"n_envs": 1}}, "env.n_envs: unknown key; here it is env.num_envs"),
        ({"train": {"env_steps": "100k"}}, "'100k' must be a whole number from 1 to 1,000,000,000,000; write 100e3"),
        ({"train": {"env_steps": "1.5M"}}, "'1.5M' must be a whole number from 1 to 1,000,000,000,000; write 1.5e6"),
        ({"env_id": "A-v1"}, "my.yaml: env_id: unknown key, did you mean env.id?"),
        ({"ppo": {"clip_coef": {"start:1": None, "end": 0}}}, "ppo.clip_coef.start:1: not a key; YAML wants a space"),
        ({"ppo": {"schedule": 1}}, "my.yaml: ppo.schedule: unknown key"),
        ({"update": {"learning_rate": "fast"}}, "'fast' must be a number from 0 to 1e6, or a schedule"),
        ({"network": {"activation": "sin"}}, "my.yaml: network.activation: 'sin' must be one of 'tanh', 'relu'"),
        ({"network": {"normalize_obs": 1}}, "my.yaml: network.normalize_obs: 1 must be true or false"),
        ({"network": {"init": "zero"}}, "my.yaml: network.init: 'zero' must be one of 'orthogonal' or 'uniform'"),
        ({"ppo": {"target_kl": True}}, "my.yaml: ppo.target_kl: True must be a finite number above 0"),
        ({"train": {"seed": -1}}, "my.yaml: train.seed: -1 must be a whole number from 0 to 4,294,967,295"),
        ({"train": 3}, "my.yaml: train: 3 must be a mapping with some of env_steps, schedule_env_steps, seed"),
        ({"network": {"memory": 3}}, "my.yaml: network.memory: 3 must be a mapping with some of kind, size"),
        ({"network": {"memory": {"length": 3}}}, "my.yaml: network.memory.length: unknown key (known: kind, size)"),
        ({"network": {"memory": {"kind": "lstm"}}}, "my.yaml: network.memory.kind: 'lstm' must be one of 'gru'"),
        ({"env": {"id": "os:system"}}, "my.yaml: env.id: 'os:system' must be a Gymnasium id"),
        ({"env": {"id": "A-v1", "kwargs": {"render_mode": "human"}}}, "must not set render_mode"),
        ({"env": {"id": "A-v1", "kwargs": {"a": {1: 2}}}}, "and lists and mappings of these; a is {1: 2}"),
        ({"env": {"id": "A-v1", "kwargs": {"a": [[{"b": math.nan}]]}}}, "must hold only numbers, true or false, null"),
    ],
)
def test_refusals_name_key_value_and_range(values, expected):
    assert expected in refusal(values)


@pytest.mark.parametrize(
    ("num_envs", "horizon", "minibatch_size", "message"),
    [
        (6, 50, 64, "64 does not divide env.num_envs × rollout.horizon = 6 × 50 = 300; 60 would"),
        (7, 1, 3, "3 does not divide env.num_envs × rollout.horizon = 7 × 1 = 7; 7 would"),
    ],
)
def test_a_minibatch_must_divide_the_batch_and_what_would_is_named(num_envs, horizon, minibatch_size, message):
    update = {"minibatch_size": minibatch_size}
    refused = refusal({"env": {"id": "A-v1", "num_envs": num_envs}, "rollout": {"horizon": horizon}, "update": update})
    assert refused == f"my.yaml: update.minibatch_size: {message}"


@pytest.mark.parametrize(("num_envs", "horizon"), [(1, 1), (10_000, 100_000)])
def test_batches_that_cannot_be_learned_from(num_envs, horizon):
    message = refusal({"env": {"id": "A-v1", "num_envs": num_envs}, "rollout": {"horizon": horizon}})
    assert f"= {num_envs * horizon} samples; an update learns from 2 to 10,000,000" in message


def test_every_name_of_stable_baselines3_leads_to_ours():
    own = {name.rpartition(".")[2] for name in KEYS}
    for name, key in KEYS.items():
        word = key.sb3.rpartition(" ")[2]
        if word and word not in own and not name.startswith("npg."):  # where it is of TRPO
            with pytest.raises(UsageError, match=rf"ppo.{word}: unknown key; here it is {name}"):
                parse_config({"env": {"id": "A-v1"}, "ppo": {word: 1}}, "my.yaml")
    assert {"n_steps", "n_envs", "batch_size", "total_timesteps", "n_epochs", "clip_range"}.isdisjoint(own)


def test_the_known_keys_of_a_section_are_listed_once():
    with pytest.raises(UsageError) as refused:
        parse_config({"env": {"id": "A-v1"}, "train": {"x": 1, "y": 2}, "ppo": {"z": 3}}, "my.yaml")
    assert str(refused.value).count("(known: env_steps,") == 1
    assert str(refused.value).count("(known: ") == 2
    assert "train.y: unknown key" in str(refused.value)


def test_schedules_run_over_training_or_as_long_as_they_are_told():
    config = {"env": {"id": "A-v1", "num_envs": 10}, "rollout": {"horizon": 10}, "update": {"minibatch_size": 100}}
    shares = {
        (800, None): [0, 0.25, 1],
        (1600, None): [0, 0.125, 0.5],
        (1600, 800): [0, 0.25, 1],  # and no more after that
        (400, 1600): [0, 0.125, 0.5],
        (790, None): [0, 0.25, 1],  # rounded up, as training is
    }
    for (env_steps, schedule_env_steps), expected in shares.items():
        train = {"env_steps": env_steps, "schedule_env_steps": schedule_env_steps}
        parsed = parse_config({**config, "train": train}, "my.yaml")
        assert [parsed.schedule_share(iteration) for iteration in (0, 2, 8)] == expected
    assert parse_config({**config, "train": {"env_steps": 1600, "schedule_env_steps": 800}}, "").schedule_share(12) == 1


def test_frozen():
    config = parse_config({"env": {"id": "CartPole-v1"}}, "my.yaml")
    with pytest.raises(ValidationError):
        config.rollout.gamma = 0.5


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
    config = parse_config({"env": {"id": "A-v1"}, "train": {"env_steps": 1025}}, "my.yaml")
    assert config.batch_size == 8 * 128
    assert config.num_iterations == 2


def test_set_overrides_any_key(config_file):
    path = config_file("env: {id: CartPole-v1}\nupdate: {learning_rate: {start: 1e-3, end: 0}}")
    config = load_config(path, ["update.learning_rate.end=1e-4", "train.env_steps=1e4", "env.kwargs.gravity=5"], seed=7)
    assert config.update.learning_rate == Schedule(start=1e-3, end=1e-4)
    assert config.train.env_steps == 10_000
    assert config.train.seed == 7
    assert config.env.kwargs == {"gravity": 5}
    config = load_config(path, ["update.learning_rate={start: 1, end: 0, shape: cosine}", "algorithm=ppo"])
    assert config.update.learning_rate == Schedule(start=1, end=0, shape="cosine")
    assert config.algorithm == "ppo"
    assert load_config(path, ["train.seed=1", "train.seed=2"]).train.seed == 2


def test_set_enters_a_schedule_that_is_only_a_default(config_file):
    config = load_config(config_file("env: {id: CartPole-v1}\nupdate:"), ["update.learning_rate.start=1e-3"])
    assert config.update.learning_rate == Schedule(start=1e-3, end=1e-4)


def test_set_changes_one_place_even_where_yaml_uses_a_mapping_twice(config_file):
    path = config_file("env: {id: A-v1}\nupdate: {learning_rate: &s {start: 1, end: 0}, ent_coef: *s}")
    config = load_config(path, ["update.ent_coef.start=0.5"])
    assert (config.update.learning_rate.start, config.update.ent_coef.start) == (1, 0.5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ppo.gamma", "write it as KEY=VALUE"),
        ("=3", "write it as KEY=VALUE"),
        ("ppo.clip_coef.end=0", "ppo.clip_coef is 0.2 here and has no parts"),
        ("ppo.gamma=[", "--set ppo.gamma, line 1, column 2: not valid YAML"),
        ("ppo.gamma=", "rollout.gamma: None must be a finite number from 0 to 1"),
        ("rollout.gamma=", "rollout.gamma: None must be a finite number from 0 to 1"),
        ("ppo.gamma.start=1", "--set ppo.gamma.start: rollout.gamma is 0.995 here and has no parts"),
        ("ppo.lr=1", "ppo.lr: unknown key"),
    ],
)
def test_bad_set(config_file, override, message):
    path = config_file("env: {id: CartPole-v1}\nppo: {clip_coef: 0.2}")
    with pytest.raises(UsageError) as refused:
        load_config(path, [override])
    assert message in str(refused.value)


def test_another_algorithms_section_is_validated_and_ignored(config_file):
    text = "env: {id: A-v1}\nalgorithm: trpo\nppo: {clip_coef: 0.3, gamma: 0.9}\ntrpo: {target_kl: 0.02}"
    config = load_config(config_file(text))
    assert (config.ppo, config.trpo.target_kl, config.rollout.gamma) == (PPOConfig(), 0.02, 0.9)
    assert config == load_config(
        config_file("env: {id: A-v1}\nalgorithm: trpo\ntrpo: {target_kl: 0.02}\nrollout: {gamma: 0.9}")
    )
    assert "clip_coef: -1 must be" in refusal({"algorithm": "trpo", "ppo": {"clip_coef": -1}})
    assert "npg.cg_dampening: unknown key, did you mean cg_damping?" in refusal({"npg": {"cg_dampening": 1}})
    assert "update.target_kl: unknown key, did you mean ppo.target_kl?" in refusal({"update": {"target_kl": 1}})


def test_another_algorithms_key_cannot_be_set(config_file):
    path = config_file("env: {id: A-v1}\nppo: {clip_coef: {start: 0.2, end: 0}}")
    with pytest.raises(UsageError, match=r"^--set trpo.target_kl: only algorithm trpo has it, and this one is ppo$"):
        load_config(path, ["trpo.target_kl=0.1"])
    with pytest.raises(
        UsageError, match=r"^--set ppo.clip_coef.start: only algorithm ppo has it, and this one is npg$"
    ):
        load_config(path, ["ppo.clip_coef.start=0.1", "algorithm=npg"])
    by_old_names = ["ppo.gamma=0.9", "ppo.learning_rate.start=1e-3"]
    config = load_config(path, ["trpo.target_kl=0.1", "algorithm=trpo", *by_old_names])
    assert config.update.learning_rate == Schedule(start=1e-3, end=1e-4)
    assert (config.trpo.target_kl, config.rollout.gamma) == (0.1, 0.9)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_config_is_written_with_the_section_of_its_own_algorithm(algorithm):
    config = parse_config({"env": {"id": "A-v1"}, "algorithm": algorithm, "vpg": {"baseline": False}}, "my.yaml")
    assert set(config.as_written()) & set(ALGORITHMS) == {algorithm}
    assert parse_config(config.as_written(), "my.yaml") == config
    assert config.has_baseline == (algorithm != "vpg")


def test_a_config_survives_its_own_yaml(config_file):
    text = "env: {id: CartPole-v1, kwargs: {a: true, b: 1.5e-7, c: word}}\nupdate: {ent_coef: {start: 1e-2, end: 0}}"
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


def test_every_key_says_what_it_is():
    assert list(Config.model_fields) == [
        "algorithm",
        "env",
        "network",
        "rollout",
        "update",
        *ALGORITHMS,
        "train",
        "evaluation",
    ]
    config = parse_config({"env": {"id": "CartPole-v1"}}, "my.yaml")
    assert list(config.leaves()) == list(KEYS)
    for name in KEYS:
        *sections, key = name.split(".")
        model = Config
        for section in sections:
            model = model.model_fields[section].annotation
        words = model.model_fields[key].description
        assert words, name
        assert words.rstrip().endswith("."), name


def test_what_may_change_on_the_way_and_what_runs_of_one_experiment_may_differ_in():
    assert {name for name, key in KEYS.items() if key.may_change} == {
        "env.workers",
        "train.env_steps",
        "train.schedule_env_steps",
        "train.checkpoint_interval",
        "train.snapshots",
        "train.target_return",
        "train.patience",
        "train.max_seconds",
        "train.tensorboard",
    }
    assert {name for name, key in KEYS.items() if key.same_experiment} == {
        "env.info_keys",
        "env.workers",
        "train.seed",
        "train.device",
        "train.checkpoint_interval",
        "train.snapshots",
        "train.max_seconds",
        "train.tensorboard",
    }


def test_a_schedule_and_arguments_of_the_environment_are_one_value_each():
    values = {"env": {"id": "A-v1", "kwargs": {"a": 1}}, "update": {"learning_rate": {"start": 1, "end": 0}}}
    leaves = parse_config(values, "my.yaml").leaves()
    assert leaves["env.kwargs"] == {"a": 1}
    assert leaves["update.learning_rate"] == {"start": 1.0, "end": 0.0, "shape": "linear"}
    assert leaves["ppo.clip_coef"] == 0.2
    assert leaves["algorithm"] == "ppo"


def test_the_same_config_with_one_value_changed():
    config = parse_config({"env": {"id": "A-v1"}, "train": {"env_steps": 3}}, "my.yaml")
    assert (config.changed("train", seed=8).train.seed, config.changed("env", workers=3).env.workers) == (8, 3)
    for other in (config.changed("train", seed=8), config.changed("env", workers=3)):
        assert other.changed("train", seed=0).changed("env", workers="auto") == config


# ----------------------------------------------------------------------------------------------------------------------
# What every algorithm shares stood in the section `ppo` once


OLD = """
env: {id: CartPole-v1, num_envs: 4}
ppo: {horizon: 32, gamma: 0.9, minibatch_size: 64, learning_rate: {start: 1e-3, end: 1e-5}, clip_coef: 0.1}
"""
TODAYS = """
env: {id: CartPole-v1, num_envs: 4}
rollout: {horizon: 32, gamma: 0.9}
update: {minibatch_size: 64, learning_rate: {start: 1e-3, end: 1e-5}}
ppo: {clip_coef: 0.1}
"""


def test_every_old_name_has_a_new_one():
    old = {
        *("horizon", "gamma", "gae_lambda", "reward_scale", "normalize_rewards"),
        *("learning_rate", "minibatch_size", "update_epochs", "max_grad_norm", "ent_coef", "vf_coef", "norm_adv"),
    }
    assert set(RENAMED) == {f"ppo.{name}" for name in old}
    assert RENAMED["ppo.gae_lambda"] == "rollout.gae_lambda"
    assert RENAMED["ppo.norm_adv"] == "update.norm_adv"


@pytest.mark.parametrize("name", RENAMED)
def test_an_old_name_means_the_new_one(name):
    section, _, key = RENAMED[name].partition(".")
    value = {"horizon": 64, "minibatch_size": 128, "normalize_rewards": False, "norm_adv": False, "update_epochs": 3}
    old = Config.model_validate({"env": {"id": "A-v1"}, "ppo": {key: value.get(key, 0.25)}})
    assert old == Config.model_validate({"env": {"id": "A-v1"}, section: {key: value.get(key, 0.25)}})
    assert old != Config.model_validate({"env": {"id": "A-v1"}})


def test_files_may_have_old_names(config_file):
    old = load_config(config_file(OLD))
    assert old == load_config(config_file(TODAYS))
    assert (old.rollout.gamma, old.update.minibatch_size, old.ppo.clip_coef) == (0.9, 64, 0.1)
    assert "gamma: 0.9" in old.to_yaml().partition("rollout:")[2].partition("update:")[0]  # written as today
    mixed = "env: {id: A-v1}\nppo: {gamma: 0.9}\nrollout: {horizon: 64}"
    config = load_config(config_file(mixed))
    assert (config.rollout.gamma, config.rollout.horizon) == (0.9, 64)


@pytest.mark.parametrize("text", [OLD, TODAYS])
@pytest.mark.parametrize("sections", [("ppo", "ppo"), ("rollout", "update")])
def test_an_override_wins_over_a_file_by_whichever_name(config_file, text, sections):
    rollout, update = sections
    overrides = [f"{rollout}.gamma=0.5", f"{update}.learning_rate.start=2e-3", f"{update}.ent_coef=0.01"]
    config = load_config(config_file(text), overrides)
    assert (config.rollout.gamma, config.update.ent_coef) == (0.5, 0.01)
    assert config.update.learning_rate == Schedule(start=2e-3, end=1e-5)
    assert (config.rollout.horizon, config.ppo.clip_coef) == (32, 0.1)  # which stay as they are


def test_the_last_override_wins_by_whichever_name(config_file):
    path = config_file(TODAYS)
    assert load_config(path, ["ppo.gamma=0.5", "rollout.gamma=0.6"]).rollout.gamma == 0.6
    assert load_config(path, ["rollout.gamma=0.6", "ppo.gamma=0.5"]).rollout.gamma == 0.5


def test_an_old_name_enters_a_schedule_that_is_only_a_default(config_file):
    config = load_config(config_file("env: {id: CartPole-v1}"), ["ppo.learning_rate.start=1e-3"])
    assert config.update.learning_rate == Schedule(start=1e-3, end=1e-4)


def test_a_key_by_both_names_in_one_file_is_refused(config_file):
    path = config_file("env: {id: A-v1}\nppo: {gamma: 0.9}\nrollout: {gamma: 0.9}")
    with pytest.raises(UsageError, match=r"ppo.gamma: unknown key, did you mean rollout.gamma\?"):
        load_config(path)
    with pytest.raises(UsageError, match=r"ppo.gamma: unknown key"):
        load_config(path, ["rollout.gamma=0.5"])


def test_reading_a_config_changes_no_mapping_that_it_came_from():
    values = {"env": {"id": "A-v1"}, "ppo": {"gamma": 0.9}, "rollout": {"horizon": 64}}
    Config.model_validate(values)
    assert values == {"env": {"id": "A-v1"}, "ppo": {"gamma": 0.9}, "rollout": {"horizon": 64}}


def test_an_installed_package_has_its_presets_inside(tmp_path, monkeypatch):
    (tmp_path / "ppocli" / "configs" / "sub").mkdir(parents=True)
    (tmp_path / "ppocli" / "configs" / "sub" / "mine.yaml").write_text("env: {id: CartPole-v1}")
    monkeypatch.setattr("ppocli.config.load.__file__", str(tmp_path / "ppocli" / "config" / "load.py"))
    assert preset_names() == ["sub/mine"]
    assert load_config("sub/mine").env.id == "CartPole-v1"


def config_in(env, **sections):
    return Config.model_validate({"env": {"id": "X-v0"} | env} | sections)


def test_the_task_that_an_agent_is_measured_in_is_changed_from_that_of_its_evaluations():
    config = config_in({"kwargs": {"a": 1, "b": 2}}, evaluation={"env_kwargs": {"b": 3}})
    task = measured_in(config, ["env.max_episode_steps=5", "env.kwargs.c=4"])
    assert (task.kwargs, task.max_episode_steps) == ({"a": 1, "b": 3, "c": 4}, 5)
    assert measured_in(config, ["env.kwargs.b=9"]).kwargs == {"a": 1, "b": 9}
    only = {"num_envs": 1, "single_instance": True, "kwargs": {"b": 3}}
    config = config_in(only, evaluation={"env_kwargs": {"b": 3}}, update={"minibatch_size": 2})
    assert measured_in(config, ["env.kwargs.b=9"]).kwargs == {"b": 9}


@pytest.mark.parametrize("override", ["env.kwargs={}", "env.num_envs=1", "evaluation.env_kwargs.b=1"])
def test_nothing_else_may_be_set_of_it(override):
    with pytest.raises(UsageError, match=r"only env.kwargs.NAME and env.max_episode_steps may be set"):
        measured_in(config_in({}), [override])


def test_wrappers_go_around_what_gymnasium_steps():
    with pytest.raises(ValidationError, match=r"which env.backend: envpool has not"):
        config_in({"backend": "envpool", "wrappers": [{"id": "ClipReward", "max_reward": 1}]})


@pytest.mark.parametrize(("written", "masks"), [("", False), ("action_masks: true", True)])
def test_a_run_of_an_earlier_version_knew_of_no_masks(tmp_path, written, masks):
    path = tmp_path / "config.yaml"
    path.write_text(f"env:\n  id: X-v0\n  {written}\n")
    assert load_stored_config(path).env.action_masks is masks
