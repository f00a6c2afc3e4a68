"""One file that holds a whole training state: safetensors, with one JSON entry in its header. Nothing is unpickled.

A file from a stranger is read in this order: the length of the header, checked against the file's; our own
entry in it, which must be as we would write it; the digest, which covers every byte of the file but its own. Only then
are the tensors made, by safetensors, which holds that their places fill the rest of the file exactly.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, StringConstraints

from ppocli.config.load import parse_config
from ppocli.config.models import KEYS, Config, as_it_was
from ppocli.errors import CheckpointError, UsageError
from ppocli.files import write_atomically

FORMAT = 2
MAX_HEADER_BYTES = 1 << 20
MAX_BYTES = 4 << 30
_HEADER_KEY = "ppocli"
_NO_DIGEST = "#" * 64  # stands where the digest will; no config can hold such a word

State = dict[str, Mapping[str, NDArray[Any]]]
"""The parts of a training state, such as `agent` or `optimizer`: what each one's `state_dict` returns, as arrays."""


@dataclass(frozen=True)
class Progress:
    """How far training has come. With the seed it also says where every random stream stands (see `ppocli.seeds`)."""

    iterations: NonNegativeInt = 0
    env_steps: NonNegativeInt = 0
    seconds: FiniteFloat = 0.0
    episodes: NonNegativeInt = 0
    best_return: FiniteFloat | None = None
    evaluations_without_better: NonNegativeInt = 0  # in a row
    solved_at_env_steps: NonNegativeInt | None = None
    solved_at_seconds: FiniteFloat | None = None
    metrics_bytes: NonNegativeInt = 0  # how long `metrics.csv` was; what stands after it, a resumed run writes again
    episodes_bytes: NonNegativeInt = 0


class _Header(BaseModel):
    """What stands in a checkpoint's header."""

    model_config = ConfigDict(strict=True, extra="forbid")

    format: int
    config: dict[str, Any]
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f#]{64}$")]
    progress: Progress
    versions: dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    path: Path
    config: Config
    progress: Progress
    versions: dict[str, str]
    arrays: dict[str, NDArray[Any]]  # all of them, each under the name of its part, a dot, and its own name
    digest: str = ""

    def part(self, name: str) -> dict[str, NDArray[Any]]:
        """Return one part of the training state, as its `state_dict` returned it."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): value for key, value in self.arrays.items() if key.startswith(prefix)}

    def is_of(self, run_config: Config) -> bool:
        """Whether it is of the run with this config, and not one that somebody has put there."""
        own, runs = self.config.leaves(), run_config.leaves()
        return all(own[name] == runs[name] for name, key in KEYS.items() if not key.may_change)

    def misfit(self, part: str) -> CheckpointError:
        """Return the error for a part that is not the state of what the config describes."""
        return CheckpointError(f"{self.path}: its {part} does not fit {self.config.env.id} and its own config")


def save(path: Path, config: Config, progress: Progress, versions: dict[str, str], state: State) -> None:
    """Write a checkpoint so that `path` is whole at any moment. Raises OSError."""
    arrays = {
        f"{part}.{name}": np.ascontiguousarray(values).reshape(values.shape)  # which makes what has no axis a vector
        for part, named in state.items()
        for name, values in named.items()
    }
    header = _Header(format=FORMAT, config=config.as_written(), digest=_NO_DIGEST, progress=progress, versions=versions)
    metadata = {_HEADER_KEY: json.dumps(header.model_dump(), sort_keys=True, allow_nan=False)}
    content = safetensors.numpy.save(arrays, metadata)
    digest = hashlib.sha256(content).hexdigest()
    write_atomically(path, content.replace(_NO_DIGEST.encode(), digest.encode(), 1))


def load(path: Path) -> Checkpoint:
    """Read and check a checkpoint. Raises CheckpointError, one line that says what is wrong with the file."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size  # of the very file that is read: a trainer may replace its name
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES) or size > MAX_BYTES:
                raise ValueError("its header has an impossible length")
            raw_header = file.read(length)
            header = _read_header(path, json.loads(raw_header))
            content = start + raw_header + file.read()
        unsigned = content.replace(header.digest.encode(), _NO_DIGEST.encode(), 1)
        if hashlib.sha256(unsigned).hexdigest() != header.digest:
            raise ValueError("its content does not match its digest")
        arrays = safetensors.numpy.load(content)
    except (OSError, ValueError, KeyError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a checkpoint, or a damaged one: {error}") from error
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise CheckpointError(f"{path}: {name} has numbers that are not finite")
    try:
        config = parse_config(as_it_was(header.config), str(path))
    except UsageError as error:
        raise CheckpointError(f"the config inside {error}") from error
    return Checkpoint(path, config, header.progress, header.versions, arrays, header.digest)


def _read_header(path: Path, layout: Any) -> _Header:
    """Return our own entry in the header of a safetensors file. Raises CheckpointError."""
    try:
        text = layout["__metadata__"][_HEADER_KEY]
        entry = dict(json.loads(text))
        if json.dumps(entry, allow_nan=False) != text:
            raise ValueError("not as we write it: a key stands there twice, perhaps")
        if entry.get("format") != FORMAT:
            raise CheckpointError(f"{path}: checkpoint format {entry.get('format')!r}, but this ppocli reads {FORMAT}")
        return _Header.model_validate_json(text)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of ppocli") from error
