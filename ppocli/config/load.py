"""From `--config`, `--set` and `--seed` to a config, or to one line that says what is wrong."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml.constructor import ConstructorError

from ppocli.config.models import KEYS, RENAMED, Config, as_it_was, by_todays_names
from ppocli.config.sections import ALGORITHMS, EnvConfig
from ppocli.config.values import NUMBER, SCHEDULE, SHORT, Given, Schedule, with_texts
from ppocli.errors import UsageError

_DEFAULTS: dict[str, Any] = Config(env=EnvConfig(id="none")).model_dump()
_KNOWN = " (known: "
_OWN_WORDS = {name.rpartition(".")[2]: name for name in reversed(KEYS)}  # the first of several is meant
# What Stable-Baselines3 and CleanRL call keys that are called otherwise here.
_ELSEWHERE = {"lr": "update.learning_rate", "num_steps": "rollout.horizon"} | {
    word: name for name, key in KEYS.items() if (word := key.sb3.rpartition(" ")[2]) not in _OWN_WORDS
}


def preset_folder() -> Path:
    """Return where the presets lie: inside an installed package, or beside it in a checkout."""
    installed = Path(__file__).parents[1] / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs"


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
    return config_from(_read(config_path(name), name), overrides, seed, name=name)


def config_from(
    values: Mapping[str, Any], overrides: Sequence[str] = (), seed: int | None = None, *, name: str = "config"
) -> Config:
    """Return what a config's content describes, changed as `--set` and `--seed` would. Raises UsageError."""
    seeded = [] if seed is None else [f"train.seed={seed}"]
    return _with_overrides(by_todays_names(deepcopy(dict(values))), name, [*overrides, *seeded])


def default_config(env_id: str, overrides: Sequence[str] = ()) -> Config:
    """Return what a task that nothing is known of is trained with, changed as `--set` would. Raises UsageError."""
    return _with_overrides({"env": {"id": env_id}}, "--set" if overrides else "check-env", overrides)


def load_stored_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read the config that a run has stored, of any version, changed as `--set` would. Raises UsageError."""
    return _with_overrides(as_it_was(_read(path, str(path))), str(path), overrides)


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a UTF-8 text file"
        preset = f"; there is a preset of that name: --config {path.stem}" if path.stem in preset_names() else ""
        raise UsageError(f"{name}: cannot read it: {reason}{preset}") from error
    values = parse_yaml(text, str(name))
    if not isinstance(values, dict):
        raise UsageError(f"{name}: a config is a mapping with some of {', '.join(Config.model_fields)}")
    # A section with nothing below its name is an empty one.
    return by_todays_names({name: {} if section is None else section for name, section in values.items()})


def _with_overrides(values: dict[str, Any], name: str, overrides: Sequence[str]) -> Config:
    for override in overrides:
        _apply_override(values, override)
    config = parse_config(values, name)
    for override in overrides:
        _refuse_another_algorithms(override.partition("=")[0], config.algorithm)
    return config


def parse_config(values: Any, source: str) -> Config:
    """Validate a mapping. Raises UsageError, one line that names each key, its value and what is allowed."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[:5]
        others = f"; and {error.error_count() - len(first)} more" if error.error_count() > len(first) else ""
        raise UsageError(f"{source}: {'; '.join(_descriptions(first))}{others}") from error


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UsageError(f"--set {override}: write it as KEY=VALUE, for example --set update.learning_rate=3e-4")
    words = key.split(".")
    whole = ".".join(words[:2])
    *parents, last = [*RENAMED.get(whole, whole).split("."), *words[2:]]
    target, default = values, _DEFAULTS
    for depth, parent in enumerate(parents):
        default = default.get(parent, {}) if isinstance(default, dict) else {}
        # A schedule may be entered even where it is only a default. Copied, as YAML may use one mapping in two places.
        value = target.get(parent, default if depth > 0 else {})
        name = ".".join(parents[: depth + 1])
        if value is None and name in KEYS and _model_at(parents[: depth + 1]) is not Schedule:
            value = {}  # a section that there is none of begins with its defaults
        if not isinstance(value, dict):
            raise UsageError(
                f"--set {key}: {name} is {value!r} here and has no parts; "
                f"give it whole, for example --set '{name}={{start: 1e-3, end: 0}}'"
            )
        target[parent] = dict(value)
        target = target[parent]
    target[last] = parse_yaml(text, f"--set {key}")
    if whole in ("env.kwargs", "evaluation.env_kwargs"):
        target[last] = with_texts(target[last], Given)


def measured_in(config: Config, overrides: Sequence[str]) -> EnvConfig:
    """Return the task that a trained agent is to be measured in, as `--set` would have it. Raises UsageError."""
    values = config.as_written() | {"env": config.evaluated_in.model_dump(mode="json"), "evaluation": {}}
    for override in overrides:
        key = override.partition("=")[0]
        if key != "env.max_episode_steps" and not key.startswith("env.kwargs."):
            raise UsageError(
                f"--set {key}: an agent stays as it was trained; here only env.kwargs.NAME and "
                "env.max_episode_steps may be set"
            )
        _apply_override(values, override)
    return parse_config(values, "--set").env if overrides else config.evaluated_in


def _refuse_another_algorithms(key: str, algorithm: str) -> None:
    """Raise UsageError for a key that is set and that no update would read."""
    whole = ".".join(key.split(".")[:2])  # a part of a schedule is further in
    section = RENAMED.get(whole, whole).partition(".")[0]
    if section in ALGORITHMS and section != algorithm:
        raise UsageError(f"--set {key}: only algorithm {section} has it, and this one is {algorithm}")


def _descriptions(errors: Sequence[ErrorDetails]) -> Iterator[str]:
    """Yield what is wrong; the known keys of a section are listed once."""
    told = set()
    for text in map(_describe, errors):
        problem, _, known = text.partition(_KNOWN)
        yield problem if known in told else text
        told.add(known or None)


def _describe(details: ErrorDetails) -> str:
    """Put one of pydantic's errors into the words of the config."""
    place = details["loc"]
    keys = [str(part) for number, part in enumerate(place) if number != 2 or part not in (NUMBER, SCHEDULE)]
    name, value = ".".join(keys), details["input"]
    shown = SHORT.repr(value)
    match details["type"]:
        case "extra_forbidden":
            if ":" in keys[-1] and value is None:
                return f"{name}: not a key; YAML wants a space after the colon, as in {{start: 1e-3, end: 0}}"
            if keys[-1] in _ELSEWHERE:
                return f"{name}: unknown key; here it is {_ELSEWHERE[keys[-1]]}"
            fields = list(_model_at(keys[:-1]).model_fields)
            nearest = _OWN_WORDS | {word: word for word in [*KEYS, *fields]}
            meant = did_you_mean(keys[-1], nearest, nearest.__getitem__)
            return f"{name}: unknown key{meant}{_KNOWN}{', '.join(fields)})"
        case "missing":
            return f"{name}: missing; give it a value"
        case "literal_error":
            return f"{name}: {shown} must be one of {details['ctx']['expected']}"
        case "value_error" if not keys:
            return str(details["ctx"]["error"])
        case "value_error":
            counted = re.fullmatch(r"([\d.]+) ?([kKmM])", value) if isinstance(value, str) else None
            advice = f"; write {counted[1]}e{3 if counted[2] in 'kK' else 6}" if counted else ""
            return f"{name}: {shown} {details['ctx']['error']}{advice}"
        case "model_type" | "model_attributes_type":
            return f"{name}: {shown} must be a mapping with some of {', '.join(_model_at(keys).model_fields)}"
        case _:
            return f"{name}: {shown}: {details['msg']}"


def _model_at(keys: Sequence[str]) -> type[BaseModel]:
    """Return the model that holds the fields below `keys`."""
    model: type[BaseModel] = Config
    for key in keys:
        annotation = model.model_fields[key].annotation
        kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        model = next((kind for kind in kinds if issubclass(kind, BaseModel)), Schedule)
    return model


def did_you_mean(word: str, choices: Iterable[str], words: Callable[[str], str] = str) -> str:
    """Return ", did you mean X?" for the choice nearest to `word`, in the `words` for it, or nothing."""
    matches = difflib.get_close_matches(word, choices, n=1)
    return f", did you mean {words(matches[0])}?" if matches else ""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and booleans (PyYAML takes `3e-4` for a string and `no` for False); no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {key_node.value!r} stands here twice"
                raise ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _type, _begins_with, _pattern in (
    ("bool", "tTfF", r"(?:true|True|TRUE|false|False|FALSE)$"),
    ("int", "-+0123456789", r"[-+]?[0-9][0-9_]*$"),
    ("float", "-+0123456789.", r"(?i:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:e[-+]?[0-9]+)?|[-+]?\.inf|\.nan)$"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_type}", re.compile(_pattern), list(_begins_with))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))  # PyYAML takes 010 for 8


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML with this config's rules. Raises UsageError that names `source` and the place."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{source}{place}: not valid YAML: {problem}") from error
