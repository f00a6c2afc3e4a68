"""What `run.json` says of a run."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ppocli.config.load import preset_names
from ppocli.envs.api import LARGEST
from ppocli.errors import one_line
from ppocli.guests import IMPORTED, Imported

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
End = Literal["", "env_steps", "solved", "patience", "max_seconds"]
"""What ends a training: nothing yet, that it has solved its task, or the key of `train` that says when."""
EARLY = ("patience", "max_seconds")  # where it has not had all its env steps
State = Literal["running", "finished", "interrupted", "failed"]


class Solved(BaseModel):
    """When a run has solved its task."""

    env_steps: Count
    seconds: Number
    return_mean: Number  # of the greedy policy, over the episodes of the check that showed it


class Command(BaseModel):
    """A command that trained, and what it asked for."""

    model_config = ConfigDict(strict=True, extra="allow")

    command: list[str] = []
    config_name: str = ""  # what it called its config, without folder and suffix; empty where it named none
    overrides: list[str] = []  # each KEY=VALUE that it set

    @model_validator(mode="before")
    @classmethod
    def _as_its_words_tell(cls, values: Any) -> Any:
        """Runs of version 0.1 recorded the words of the command alone."""
        command = values.get("command") if isinstance(values, dict) and "overrides" not in values else None
        if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
            return values
        names = _values("--config", command)
        return vars(command_of(command, names[-1] if names else "", _values("--set", command))) | values


class Resumed(Command):
    """When and how a run was resumed."""

    at: str = ""  # UTC, ISO 8601
    env_steps: Count = 0  # where it stood
    exact: bool = True  # whether its episodes could be continued
    stop_when_solved: bool = False

    @property
    def changed_something(self) -> bool:
        """Whether the run would have come out otherwise without it; an interruption alone changes nothing."""
        return bool(self.overrides) or not self.exact


class Ancestor(BaseModel):
    """The checkpoint that a run has begun with."""

    checkpoint: str
    digest: str
    env_steps: Count  # that its agent had learned from
    experiment: str = ""  # the digest of what made its run's group: all of its config that results depend on, but seeds
    keeps_optimizer: bool = False

    @property
    def name(self) -> str:
        """What its run is called, or its file where it is of none."""
        path = Path(self.checkpoint)
        return path.parents[1].name if path.parent.name in ("checkpoints", "snapshots") else path.stem

    @property
    def kind(self) -> str:
        """What is alike in the beginnings of runs that differ in their seeds alone."""
        which = Path(self.checkpoint).stem
        return f"{which} of {self.experiment[:6]}{', with its optimizer' if self.keeps_optimizer else ''}"


class RunInfo(Command):
    """What `run.json` says of a run."""

    started: str = ""  # UTC, ISO 8601
    name: str | None = None
    began_with_env_steps: Count | None = None  # `train.env_steps` when it began; None: what `config.yaml` says
    target_return: Number | None = None  # the mean return that counts as solved, None where the task has none
    stop_when_solved: bool = False
    begun_from: Ancestor | None = None  # None: from an agent that knew nothing
    observations: str = ""  # in which form its agent sees them
    masks_actions: bool = False  # whether its environment says which actions are allowed, and no others are taken
    state: State = "interrupted"  # `running` stays there for ever when the process is killed
    solved: Solved | None = None
    ended: str | None = None
    ended_by: End = ""
    error: str | None = None  # what a failed run failed of
    git_commit: str | None = None
    imports: list[Imported] = []
    workers: Count | None = None  # processes that --jobs left it; None where the config decided
    versions: dict[str, str] = {}
    machine: dict[str, str] = {}
    resumed: list[Resumed] = []

    @property
    def sees_pictures(self) -> bool:
        """Whether there are pictures in its observations."""
        return "picture" in self.observations

    @property
    def code_now(self) -> str:
        """The digest of what was imported for it, where that is in this process other code than when it began."""
        then = {known.module: known.digest for known in self.imports}
        changed = [known.digest for known in IMPORTED if then.get(known.module, known.digest) != known.digest]
        return "".join(changed)[:8]


def command_of(words: Sequence[str], config: str, overrides: Sequence[str]) -> Command:
    """Return a command: its words, and what its `--config` and `--set` were."""
    words = [os.fsencode(word).decode(errors="replace") for word in words]  # no locale's own bytes, which JSON has not
    name = one_line(config)
    if name not in preset_names():
        name = PureWindowsPath(name).stem  # which knows both kinds of slashes
    return Command(command=list(words), config_name=name, overrides=list(overrides))


def _values(option: str, command: Sequence[str]) -> list[str]:
    """Return the values that an option has in a command, in their order."""
    return [
        following if word == option else word.partition("=")[2]
        for word, following in itertools.pairwise([*command, ""])
        if word == option or word.startswith(f"{option}=")
    ]
