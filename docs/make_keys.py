"""Writes docs/keys.md, the page of all config keys, from what the config's models say about themselves.

python docs/make_keys.py
"""

import textwrap
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ppocli.config.models import KEYS, MAX_WEIGHTS, RENAMED, Config
from ppocli.config.sections import MAX_BATCH_SIZE
from ppocli.config.values import Schedule, Section

PAGE = Path(__file__).with_name("keys.md")
WRONG_VALUES = ("?", ["?"], {"key": "?"})
"""Of these no key takes more than one, and what refuses them says what it does take."""

HEAD = "# The keys of a config\n\n*Made from the code by `python docs/make_keys.py`; a test holds it to the code.*\n"
SETTING = """\
A config is a YAML file; `--config` takes its path, or the name of a preset. Only `env.id` is required, so that

```yaml
env:
  id: Acrobot-v1
```

is a whole config. Each preset in [`configs/`](../configs/) explains itself line by line: `cartpole` and `lunar` state
all that matters, the others little but what is not as below. Any key can be changed for one run:

```sh
ppocli train --config lunar --set update.learning_rate=3e-4 --set train.env_steps=1e6
ppocli train --config cartpole --set 'network.hidden_sizes=[32, 32]' --set network.activation=relu
ppocli train --config pendulum --set 'update.learning_rate={start: 2e-3, end: 1e-4, shape: cosine}'
ppocli train --config pendulum --set update.learning_rate.end=1e-4
```

```sh
ppocli schema > ppocli.schema.json
```

writes what a config may hold as a JSON schema: an editor that knows YAML completes and checks by it whatever file has
the line `# yaml-language-server: $schema=ppocli.schema.json` in it. The presets in `configs/` have one.

`3e-4`, `1e6` and `100_000` are numbers, `yes` and `no` are words, and an unknown key is an error that names the nearest
known one.

The defaults are for tasks of which nothing is known: observations and rewards are normalised, so that units do not
matter. The statistics of `network.normalize_obs` are a part of the agent and of its checkpoints and are moved by
training alone. Off unless a preset turns them on are `ppo.clip_vloss` and `ppo.target_kl`.
`update.norm_adv: false`, `update.max_grad_norm: null`, `network.init: uniform` and `network.log_std_init` are there for
those who compare. Real-valued actions are drawn from a Gaussian; −1 … 1 stands for the range of the task, and what lies
outside is clipped.
"""


def page() -> str:
    """Return docs/keys.md as it should be."""
    shapes = words(Schedule.model_fields["shape"].annotation)
    scheduled = [f"`{name}`" for name in KEYS if "schedule" in takes(name)]
    paragraphs = [
        f"**Schedules.** {listed(scheduled)} take a number, or a schedule over training. `{{start: 3e-4, end: 0}}` "
        f"falls evenly (`shape: {shapes[0]}`, which may be left out), `{{start: 3e-4, end: 0, shape: {shapes[1]}}}` "
        "starts and ends gently. One part of a schedule can be set by itself, as in the last line above.",
        "**Batches.** An iteration takes `rollout.horizon` env steps in each of `env.num_envs` environments and learns "
        f"from all of them: from 2 to {MAX_BATCH_SIZE:,} samples, a multiple of `update.minibatch_size`. "
        "`train.env_steps` is rounded up to whole iterations. Between the hidden layers of a network at most "
        f"{MAX_WEIGHTS:,} weights are allowed.",
        f"**Older names.** {older_names()} These names are taken for ever, in files as by `--set`.",
        "**On resume** a run keeps the config that it began with; only "
        f"{listed(f'`{name}`' for name, key in KEYS.items() if key.may_change)} may change.",
        "**The same experiment.** Runs that differ in nothing but "
        f"{listed(f'`{name}`' for name, key in KEYS.items() if key.same_experiment)} are one curve in figures and "
        "reports.",
        "*SB3* is what Stable-Baselines3 calls a key. Its unit, default and details may differ there.",
    ]
    parts = [HEAD, SETTING, *[f"{wrapped(paragraph)}\n" for paragraph in paragraphs]]
    parts += ["## The algorithm\n", table("")]
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            parts += [f"## `{name}`\n", f"{field.annotation.__doc__}\n", table(name)]
    return "\n".join(parts)


def table(section: str) -> str:
    """Return a row for each key of a section."""
    head = ["key", "takes", "default", "on resume", "SB3", "meaning"]
    rows = [row(name) for name in KEYS if name.rpartition(".")[0] == section]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)) + "\n"


def row(name: str) -> list[str]:
    """Return what there is to say of a key."""
    key, field = KEYS[name], field_of(name)
    default = "required" if field.is_required() else f"`{yaml(field.default)}`"
    assert field.description, name
    on_resume, sb3 = "may change" if key.may_change else "stays", f"`{key.sb3}`" if key.sb3 else "–"
    return [f"`{name}`", takes(name), default, on_resume, sb3, one_line(field.description)]


def field_of(name: str) -> FieldInfo:
    """Return the field of a key."""
    model: Any = Config
    *sections, key = name.split(".")
    for section in sections:
        model = model.model_fields[section].annotation
    found: FieldInfo = model.model_fields[key]
    return found


def takes(name: str) -> str:
    """Return the values that a key may have, in the words in which it refuses others."""
    if choices := words(field_of(name).annotation):
        return listed((f"`{choice}`" for choice in choices), "or")
    kinds = [kind for kind in typing.get_args(field_of(name).annotation) if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, Section) and kind is not Schedule:
            return f"{', '.join(part(*named) for named in kind.model_fields.items())}, or `null`"
    allowed = list(dict.fromkeys(said for value in WRONG_VALUES for said in refusals(name, value)))
    if refuses(name, None) == [] and not field_of(name).is_required():
        allowed.append("or `null`")
    return "; ".join(allowed).replace("; or", ", or")


def part(name: str, field: FieldInfo) -> str:
    """Return what there is to say of a part of a key."""
    assert field.description, name
    choices = " or ".join(f"`{choice}`" for choice in words(field.annotation))
    return f"`{name}`: {choices or one_line(field.description).rstrip('.').lower()} (`{yaml(field.default)}`)"


def refusals(name: str, value: Any) -> Iterator[str]:
    """Yield what a key says to a value that it does not take."""
    depth = len(name.split("."))
    for error in refuses(name, value):
        if error["type"] == "value_error":
            said = str(error["ctx"]["error"]).partition("; ")[0]
            whole = said.removeprefix("must be ").replace("must hold", "it must hold")
            yield whole if len(error["loc"]) == depth else f"each {whole}"


def refuses(name: str, value: Any) -> list[Any]:
    """Return what is wrong with a config in which a key has a value."""
    section, _, key = name.rpartition(".")
    values: dict[str, Any] = {"env": {"id": "none"}}
    target = values.setdefault(section, {}) if section else values
    target[key] = value
    try:
        Config.model_validate(values)
    except ValidationError as error:
        return list(error.errors())
    return []


def words(annotation: Any) -> list[str]:
    """Return the words that a Literal allows, none for another type."""
    return list(typing.get_args(annotation)) if typing.get_origin(annotation) is typing.Literal else []


def older_names() -> str:
    """Return where keys stood that stand elsewhere now."""
    sentences = []
    for section in dict.fromkeys(new.partition(".")[0] for new in RENAMED.values()):
        names = [f"`{old}`" for old, new in RENAMED.items() if new.startswith(f"{section}.")]
        sentences.append(f"{listed(names)} now stand in the section `{section}`.")
    return " ".join(sentences)


def yaml(value: Any) -> str:
    """Return a default as one writes it in a config."""
    if isinstance(value, Schedule):
        shape = "" if value.shape == Schedule.model_fields["shape"].default else f", shape: {value.shape}"
        return f"{{start: {yaml(value.start)}, end: {yaml(value.end)}{shape}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return f"{value:_}"
    return f"{value:g}" if isinstance(value, float) else str(list(value) if isinstance(value, tuple) else value)


def listed(names: Iterable[str], last: str = "and") -> str:
    """Return a list as sentences have it."""
    *others, final = names
    return f"{', '.join(others)} {last} {final}" if others else final


def one_line(text: str) -> str:
    """Return a description as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def wrapped(paragraph: str) -> str:
    """Return a paragraph in lines of Markdown."""
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
