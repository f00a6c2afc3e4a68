"""What a run is made of: a frozen, validated config, read from YAML, a shipped preset and `--set` overrides."""

import difflib
import itertools
import math
import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from ppocli.errors import UsageError

# ----------------------------------------------------------------------------------------------------------------------
# Values: each type has one check and one message, which names the whole allowed range.


_SHORT = reprlib.Repr()
"""For messages: YAML's aliases can make a value that is endless when it is written out."""
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 60, 60


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def whole_number(low: int, high: int) -> BeforeValidator:
    """Accept an integer from `low` to `high`; `1e6` is one, `true` and `"3"` are not."""

    def check(value: Any) -> int:
        if not _is_number(value) or value != int(value) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high:,}")
        return int(value)

    return BeforeValidator(check)


def real_number(low: float, high: float = math.inf, *, above_low: bool = False) -> BeforeValidator:
    """Accept a finite number from `low` (or only above it) to `high`."""
    words = f"above {low:g}" if above_low else f"of at least {low:g}"
    if high < math.inf:
        words = f"{'above' if above_low else 'from'} {low:g} {'and at most' if above_low else 'to'} {high:g}"
    if low == -math.inf:
        words = ""

    def check(value: Any) -> float:
        if not _is_number(value) or not low <= value <= high or (above_low and value == low):
            raise ValueError(f"must be a finite number {words}".rstrip())
        return float(value)

    return BeforeValidator(check)


def _check_env_id(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", value):
        raise ValueError('must be a Gymnasium id such as "LunarLander-v3" (one that imports a module is not accepted)')
    return value


def _check_env_kwargs(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) and key.isidentifier() for key in value):
        raise ValueError("must be a mapping of argument names to values")
    if "render_mode" in value:
        raise ValueError("must not set render_mode: training never draws, and `ppocli render` chooses its own")
    for key, item in value.items():
        plain_word = isinstance(item, str) and re.fullmatch(r"[\w+-][\w +-]*", item)
        if not (isinstance(item, bool) or _is_number(item) or plain_word):
            raise ValueError(f"must hold only numbers, true or false, and plain words; {key} is {_SHORT.repr(item)}")
    return value


def _check_workers(value: Any) -> Any:
    if value != "auto" and (not _is_number(value) or value != int(value) or not 0 <= value <= 64):
        raise ValueError("must be auto or a whole number from 0 to 64")
    return value if value == "auto" else int(value)


def _check_hidden_sizes(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) > 8:
        raise ValueError("must be a list of at most 8 whole numbers, such as [64, 64]")
    return tuple(value)


def _check_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


Switch = Annotated[bool, BeforeValidator(_check_switch)]
Count = Annotated[int, whole_number(1, 10**12)]
Seed = Annotated[int, whole_number(0, 2**32 - 1)]
Finite = Annotated[float, real_number(-math.inf)]
NonNegative = Annotated[float, real_number(0, 1e6)]
Positive = Annotated[float, real_number(0, above_low=True)]
Fraction = Annotated[float, real_number(0, 1)]


class Section(BaseModel):
    """A part of the config: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(Section):
    """A value that moves from `start` to `end` over training; `ppocli.algorithm.schedules` says how."""

    start: NonNegative
    end: NonNegative
    shape: Literal["linear", "cosine"] = "linear"


def _check_scheduled(value: Any) -> Any:
    if isinstance(value, dict | Schedule):
        return value
    if not _is_number(value) or not 0 <= value <= 1e6:
        raise ValueError("must be a number from 0 to 1e6, or a schedule such as {start: 3e-4, end: 0}")
    return float(value)


def _kind(value: object) -> str:
    return _SCHEDULE if isinstance(value, dict | Schedule) else _NUMBER


# pydantic puts these into the place of an error, from where `_describe` takes them out again.
_NUMBER, _SCHEDULE = "<number>", "<schedule>"
NumberOrSchedule = Annotated[
    Annotated[float, Tag(_NUMBER)] | Annotated[Schedule, Tag(_SCHEDULE)],
    Discriminator(_kind),
    BeforeValidator(_check_scheduled),
]
MAX_WEIGHTS = 50_000_000
"""Between hidden layers. Far more than CPUs train in useful time; a checkpoint is then still below 2 GB."""
MAX_BATCH_SIZE = 10_000_000
"""Samples that an update may hold at once; more would not fit into the memory of the machines this is made for."""


# ----------------------------------------------------------------------------------------------------------------------
# Sections


class EnvConfig(Section):
    """The task: which environment, with which arguments, and how many of it at once."""

    id: Annotated[str, BeforeValidator(_check_env_id)]
    kwargs: Annotated[dict[str, bool | int | float | str], BeforeValidator(_check_env_kwargs)] = {}
    num_envs: Annotated[int, whole_number(1, 10_000)] = 16
    backend: Literal["gymnasium", "envpool"] = "gymnasium"
    workers: Annotated[int | Literal["auto"], BeforeValidator(_check_workers)] = "auto"


class NetworkConfig(Section):
    """The shape of the actor's and of the critic's network, which share no weights, and how they begin."""

    hidden_sizes: Annotated[tuple[Annotated[int, whole_number(1, 8192)], ...], BeforeValidator(_check_hidden_sizes)] = (
        64,
        64,
    )
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = "tanh"
    init: Literal["orthogonal", "uniform"] = "orthogonal"
    log_std_init: Annotated[float, real_number(-10, 10)] = 0.0
    normalize_obs: Switch = False


class PPOConfig(Section):
    """The algorithm's settings; the names are the field's own."""

    horizon: Annotated[int, whole_number(1, 100_000)] = 128
    minibatch_size: Annotated[int, whole_number(2, MAX_BATCH_SIZE)] = 256
    update_epochs: Annotated[int, whole_number(1, 1000)] = 10
    gamma: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    clip_coef: NumberOrSchedule = 0.2
    ent_coef: NumberOrSchedule = 0.0
    vf_coef: NonNegative = 0.5
    max_grad_norm: Positive | None = 0.5
    learning_rate: NumberOrSchedule = Schedule(start=3e-4, end=0.0)
    reward_scale: Positive = 1.0
    normalize_rewards: Switch = False
    norm_adv: Switch = True
    clip_vloss: Switch = False
    target_kl: Positive | None = None


class TrainConfig(Section):
    """How long to train, from which seed, and how often to look at what was learned."""

    env_steps: Count = 500_000
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    eval_interval: Count = 50_000
    eval_episodes: Annotated[int, whole_number(1, 10_000)] = 20
    checkpoint_interval: Count = 100_000
    target_return: Finite | None = None


class Config(Section):
    """Everything a run depends on. Only `env.id` has no default."""

    env: EnvConfig
    network: NetworkConfig = NetworkConfig()
    ppo: PPOConfig = PPOConfig()
    train: TrainConfig = TrainConfig()

    @property
    def batch_size(self) -> int:
        """Env steps in one iteration: horizon × num_envs."""
        return self.ppo.horizon * self.env.num_envs

    @property
    def num_iterations(self) -> int:
        """Iterations that hold at least `train.env_steps` env steps."""
        return math.ceil(self.train.env_steps / self.batch_size)

    @property
    def checkpoint_iterations(self) -> int:
        """Iterations from one `last` checkpoint to the next: `train.checkpoint_interval` env steps, rounded up."""
        return math.ceil(self.train.checkpoint_interval / self.batch_size)

    @model_validator(mode="after")
    def _network_is_small(self) -> "Config":
        weights = sum(inputs * outputs for inputs, outputs in itertools.pairwise(self.network.hidden_sizes))
        if weights > MAX_WEIGHTS:
            raise ValueError(
                f"network.hidden_sizes: {weights:,} weights between them; at most {MAX_WEIGHTS:,} are allowed"
            )
        return self

    @model_validator(mode="after")
    def _minibatches_fill_the_batch(self) -> "Config":
        batch = f"env.num_envs × ppo.horizon = {self.env.num_envs} × {self.ppo.horizon} = {self.batch_size}"
        if not 2 <= self.batch_size <= MAX_BATCH_SIZE:
            raise ValueError(f"{batch} samples; an update learns from 2 to {MAX_BATCH_SIZE:,}")
        if self.batch_size % self.ppo.minibatch_size:
            smaller = range(min(self.ppo.minibatch_size, self.batch_size), 1, -1)
            fits = next((size for size in smaller if self.batch_size % size == 0), self.batch_size)
            raise ValueError(f"ppo.minibatch_size: {self.ppo.minibatch_size} does not divide {batch}; {fits} would")
        return self

    def leaves(self) -> dict[str, Any]:
        """Return each value under its dotted key; a schedule and `env.kwargs` are a value as a whole."""
        sections = self.model_dump(mode="json")
        return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}

    def with_seed(self, seed: int) -> "Config":
        """Return the same config with another `train.seed`."""
        return self.model_copy(update={"train": self.train.model_copy(update={"seed": seed})})

    def to_yaml(self) -> str:
        """Return the config as YAML that `load_config` reads back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


# ----------------------------------------------------------------------------------------------------------------------
# YAML, read as people mean it


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and booleans (PyYAML takes `3e-4` for a string and `no` for False); no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} stands here twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9][0-9_]*$"), list("-+0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))  # PyYAML takes 010 for 8
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$", re.IGNORECASE),
    list("-+0123456789."),
)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML with this config's rules. Raises UsageError that names `source` and the place."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{source}{place}: not valid YAML: {problem}") from error


# ----------------------------------------------------------------------------------------------------------------------
# Loading


def preset_folder() -> Path:
    """Return where the presets lie: inside an installed package, or beside it in a checkout."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "configs"


def preset_names() -> list[str]:
    """Return the names of the shipped presets, such as `lunar`."""
    folder = preset_folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def config_path(name: str) -> Path:
    """Return the file that `--config NAME` means: a preset's, or NAME itself when it looks like a path."""
    if name in preset_names():
        return preset_folder() / f"{name}.yaml"
    if "/" in name or "\\" in name or name.endswith((".yaml", ".yml")):
        return Path(name)
    raise UsageError(
        f"--config {name}: no such preset{did_you_mean(name, preset_names())} (presets: {', '.join(preset_names())}; "
        "a file's name ends in .yaml)"
    )


def load_config(name: str, overrides: Sequence[str] = (), seed: int | None = None) -> Config:
    """Read the config that `--config`, `--set` and `--seed` describe. Raises UsageError."""
    path = config_path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a UTF-8 text file"
        preset = f"; there is a preset of that name: --config {path.stem}" if path.stem in preset_names() else ""
        raise UsageError(f"{name}: cannot read it: {reason}{preset}") from error
    values = parse_yaml(text, str(name))
    if not isinstance(values, dict):
        raise UsageError(f"{name}: a config is a mapping with the sections {', '.join(Config.model_fields)}")
    # A section with nothing below its name is an empty one.
    values = {name: {} if section is None else section for name, section in values.items()}
    for override in overrides:
        _apply_override(values, override)
    if seed is not None:
        _apply_override(values, f"train.seed={seed}")
    return parse_config(values, str(name))


def parse_config(values: Any, source: str) -> Config:
    """Validate a mapping. Raises UsageError, one line that names each key, its value and what is allowed."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[:_ERRORS_SHOWN]
        others = f"; and {error.error_count() - len(first)} more" if error.error_count() > len(first) else ""
        raise UsageError(f"{source}: {'; '.join(map(_describe, first))}{others}") from error


_ERRORS_SHOWN = 5
_DEFAULTS: dict[str, Any] = Config(env=EnvConfig(id="none")).model_dump()


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UsageError(f"--set {override}: write it as KEY=VALUE, for example --set ppo.learning_rate=3e-4")
    *parents, last = key.split(".")
    target, default = values, _DEFAULTS
    for depth, parent in enumerate(parents):
        default = default.get(parent, {}) if isinstance(default, dict) else {}
        # A schedule may be entered even where it is only a default. Copied, as YAML may use one mapping in two places.
        value = target.get(parent, default if depth > 0 else {})
        if not isinstance(value, dict):
            name = ".".join(parents[: depth + 1])
            raise UsageError(
                f"--set {key}: {name} is {value!r} here and has no parts; "
                f"give it whole, for example --set '{name}={{start: 1e-3, end: 0}}'"
            )
        target[parent] = dict(value)
        target = target[parent]
    target[last] = parse_yaml(text, f"--set {key}")


def _describe(details: ErrorDetails) -> str:
    """Put one of pydantic's errors into the words of the config."""
    keys = [
        str(part) for position, part in enumerate(details["loc"]) if position != 2 or part not in (_NUMBER, _SCHEDULE)
    ]
    name, value = ".".join(keys), details["input"]
    shown = _SHORT.repr(value)
    match details["type"]:
        case "extra_forbidden":
            fields = list(_model_at(keys[:-1]).model_fields)
            if ":" in keys[-1] and value is None:
                return f"{name}: not a key; YAML wants a space after the colon, as in {{start: 1e-3, end: 0}}"
            below = [f"{section}.{field}" for section in fields for field in _DEFAULTS[section]] if not keys[1:] else []
            return f"{name}: unknown key{did_you_mean(keys[-1], fields + below)} (known: {', '.join(fields)})"
        case "missing":
            return f"{name}: missing; give it a value"
        case "literal_error":
            return f"{name}: {shown} must be one of {details['ctx']['expected']}"
        case "value_error" if not keys:
            return str(details["ctx"]["error"])
        case "value_error":
            return f"{name}: {shown} {details['ctx']['error']}"
        case "model_type" | "model_attributes_type":
            return f"{name}: {shown} must be a mapping with some of {', '.join(_model_at(keys).model_fields)}"
        case _:
            return f"{name}: {shown}: {details['msg']}"


def _model_at(keys: Sequence[str]) -> type[BaseModel]:
    """Return the model that holds the fields below `keys`."""
    model: type[BaseModel] = Config
    for key in keys:
        annotation = model.model_fields[key].annotation
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else Schedule
    return model


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """Return ", did you mean X?" for the choice nearest to `word`, or nothing."""
    matches = difflib.get_close_matches(word, choices, n=1)
    return f", did you mean {matches[0]}?" if matches else ""
