"""A policy as a C header: C99, `math.h` and nothing else, no memory but the stack's, one function."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ppocli.algorithm.normalize import OBS_LIMIT
from ppocli.envs.api import Continuous
from ppocli.envs.masks import choices_of
from ppocli.envs.spaces import leaves
from ppocli.errors import PpocliError, UsageError
from ppocli.portable.check import Act, States
from ppocli.portable.plan import Plan

COMPILERS, OPTIONS = ("cc", "gcc", "clang"), ("-std=c99", "-Wall", "-Werror", "-pedantic", "-O2")
_F = {
    "tanh": "tanhf(v)",
    "relu": "v > 0 ? v : 0",
    "elu": "v > 0 ? v : expm1f(v)",
    "gelu": "0.5f * v * (1 + erff(v * 0.70710678f))",
    "silu": "v / (1 + expf(-v))",
}


def header_of(plan: Plan, name: str, about: Sequence[str]) -> str:
    """Return the header, its function NAME_act and what belongs to it; `about` are lines that say what it is.

    Raises UsageError for a policy that sees pictures, and a name that C cannot have.
    """
    if plan.vision is not None:
        raise UsageError("--output: a C header is for policies without pictures; FILE.onnx takes this one, too")
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise UsageError(f"--output {name}.h: what is in it is called as the file is; use letters, digits and _ alone")
    return "\n".join([*_lines(plan, name, about), ""])


def sizes_of(plan: Plan) -> tuple[int, int]:
    """Return the bytes of constants that the function reads, and of the numbers that it works with on the stack."""
    arrays = [array for layer in plan.layers for array in layer] + [*(plan.memory or ()), *(plan.normalizer or ())]
    return 4 * sum(array.size for array in arrays), 4 * (plan.obs_spec.size + 2 * _width(plan) + 6 * plan.memory_size)


def acting(header: str, plan: Plan, name: str, space: gym.Space[Any], folder: Path) -> Act | None:
    """Return what acts by a header, on observations of a space, compiled in a folder; None without a C compiler."""
    compiler = next((found for one in COMPILERS if (found := shutil.which(one))), None)
    if compiler is None:
        return None
    (folder / f"{name}.h").write_text(header)
    arguments = ["o", *(["m"] if plan.obs_spec.num_masked else []), *(["s"] if plan.memory else []), "a"]
    types = "const float *o, const unsigned char *m, float *s, void *a"
    call = f"(void)m; (void)s; {name}_act({', '.join(arguments)});"
    (folder / "main.c").write_text(f'#include "{name}.h"\nvoid act({types});\nvoid act({types}) {{ {call} }}\n')
    command = [compiler, *OPTIONS, "-shared", "-fPIC", "main.c", "-o", "policy.so", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise PpocliError(f"the header does not compile: {done.stderr.strip().splitlines()[0]}")
    function, is_real = ctypes.CDLL(str(folder / "policy.so")).act, isinstance(plan.action_spec, Continuous)
    number = plan.num_outputs if is_real else len(choices_of(plan.action_spec))

    def act(obs: Any, mask: Any, states: States) -> tuple[Any, States]:
        parts = [np.asarray(leaf.of(obs), np.float32) for leaf in leaves(space)]
        rows = np.concatenate([part.reshape(len(part), -1) for part in parts], 1)
        masks = np.zeros((len(rows), 1), np.uint8) if mask is None else np.ascontiguousarray(mask, np.uint8)
        after = np.zeros((len(rows), max(plan.memory_size, 1)), np.float32) if states is None else states.copy()
        actions = np.zeros((len(rows), number), np.float32 if is_real else np.int32)
        for row in zip(rows, masks, after, actions, strict=True):
            function(*(array.ctypes.data_as(ctypes.c_void_p) for array in row))
        return actions.reshape(len(rows), *(plan.action_space.shape or ())), after if plan.memory else None

    return act


def _lines(plan: Plan, name: str, about: Sequence[str]) -> Iterator[str]:
    constants, stack = sizes_of(plan)
    takes = ["const float *obs", *(["const unsigned char *mask"] if plan.obs_spec.num_masked else [])]
    takes += ["float *state"] if plan.memory else []
    takes.append("float *action" if isinstance(plan.action_spec, Continuous) else "int *action")
    yield f"/* {name}_act: from an observation to the action that a trained policy takes."
    yield " *"
    yield from (f" * {line.replace('*/', '* /')}" for line in about)
    yield " *"
    yield " * obs: " + "; ".join(_said(part.name, part.space) for part in plan.parts)
    if plan.obs_spec.num_masked:
        yield f" * mask: {plan.obs_spec.num_masked} bytes, 1 for each choice that is allowed"
    if plan.memory:
        yield f" * state: {plan.memory_size} numbers, 0 when an episode begins, which the function changes"
    yield f" * action: {_said_of_action(plan)}"
    yield f" * {constants:,} bytes of constants, {stack:,} bytes of the stack, and no other memory. */"
    yield f"#ifndef {name.upper()}_H"
    yield f"#define {name.upper()}_H"
    yield "#include <math.h>"
    yield ""
    arrays = dict(zip(("mean", "std"), plan.normalizer or (), strict=False))
    arrays |= dict(zip(("gru_x", "gru_h", "gru_bx", "gru_bh"), plan.memory or (), strict=False))
    for number, (weight, bias) in enumerate(plan.layers):
        arrays |= {f"w{number}": weight, f"b{number}": bias}
    for constant, array in arrays.items():
        yield from _array(f"{name}_{constant}", array)
    yield ""
    of_layer = "const float *w, const float *b, const float *x, float *y, int inputs, int outputs"
    yield f"static inline void {name}_layer({of_layer}) {{"
    yield "  int i, j;"
    yield "  for (i = 0; i < outputs; i++) {"
    yield "    float sum = b[i];"
    yield "    for (j = 0; j < inputs; j++) sum += w[i * inputs + j] * x[j];"
    yield "    y[i] = sum;"
    yield "  }"
    yield "}"
    yield ""
    yield f"static inline void {name}_act({', '.join(takes)}) {{"
    yield from (f"  {line}" for line in _body(plan, name))
    yield "}"
    yield "#endif"


def _body(plan: Plan, name: str) -> Iterator[str]:
    size, width, two = plan.obs_spec.size, _width(plan), len(plan.layers) > 1
    yield f"float x[{size}], a[{width}]{f', b[{width}]' if two else ''};"
    yield "int i;"
    yield from _inputs(plan)
    if plan.normalizer:
        yield f"for (i = 0; i < {size}; i++) {{"
        yield f"  x[i] = (x[i] - {name}_mean[i]) / {name}_std[i];"
        yield f"  x[i] = x[i] < -{OBS_LIMIT:g} ? -{OBS_LIMIT:g} : x[i] > {OBS_LIMIT:g} ? {OBS_LIMIT:g} : x[i];"
        yield "}"
    last, inputs = "x", size
    if plan.memory:
        yield from _gru(plan, name)
        last, inputs = "state", plan.memory_size
    for number, (_, bias) in enumerate(plan.layers):
        outputs, into = len(bias), "ab"[number % 2]
        yield f"{name}_layer({name}_w{number}, {name}_b{number}, {last}, {into}, {inputs}, {outputs});"
        if number + 1 < len(plan.layers):
            yield f"for (i = 0; i < {outputs}; i++) {{ float v = {into}[i]; {into}[i] = {_F[plan.activation]}; }}"
        last, inputs = into, outputs
    yield from _in_bounds(plan, last) if isinstance(plan.action_spec, Continuous) else _choosing(plan, last)


def _inputs(plan: Plan) -> Iterator[str]:
    """Numbers as they are, and choices as one-hot ones."""
    place = taken = 0
    for part in plan.parts:
        choices = [*_choices(part.space)]
        for start, number in choices:
            yield f"for (i = 0; i < {number}; i++) x[{place} + i] = (int)obs[{taken}] == {start} + i ? 1 : 0;"
            place, taken = place + number, taken + 1
        if not choices:
            number = int(np.prod(part.space.shape or ()))
            yield f"for (i = 0; i < {number}; i++) x[{place} + i] = obs[{taken} + i];"
            place, taken = place + number, taken + number


def _gru(plan: Plan, name: str) -> Iterator[str]:
    """The gates r, z and n, one after the other, of what is seen and of what is remembered."""
    size = plan.memory_size
    yield "{"
    yield f"  float gx[{3 * size}], gh[{3 * size}];"
    yield f"  {name}_layer({name}_gru_x, {name}_gru_bx, x, gx, {plan.obs_spec.size}, {3 * size});"
    yield f"  {name}_layer({name}_gru_h, {name}_gru_bh, state, gh, {size}, {3 * size});"
    yield f"  for (i = 0; i < {size}; i++) {{"
    yield "    float r = 1 / (1 + expf(-(gx[i] + gh[i])));"
    yield f"    float z = 1 / (1 + expf(-(gx[{size} + i] + gh[{size} + i])));"
    yield f"    float n = tanhf(gx[{2 * size} + i] + r * gh[{2 * size} + i]);"
    yield "    state[i] = (1 - z) * n + z * state[i];"
    yield "  }"
    yield "}"


def _choosing(plan: Plan, outputs: str) -> Iterator[str]:
    first = 0
    for part, (start, number) in enumerate(_chosen(plan)):
        better = f"{outputs}[{first} + i] > {outputs}[{first} + action[{part}]]"
        if plan.obs_spec.num_masked:
            better = f"mask[{first} + i] && (!mask[{first} + action[{part}]] || {better})"
        yield f"action[{part}] = 0;"
        yield f"for (i = 1; i < {number}; i++) if ({better}) action[{part}] = i;"
        if start:
            yield f"action[{part}] += {start};"
        first += number


def _in_bounds(plan: Plan, outputs: str) -> Iterator[str]:
    """Do what `envs.spaces.to_box` does."""
    space: Any = plan.action_space
    for index, (low, high) in enumerate(zip(space.low.ravel().tolist(), space.high.ravel().tolist(), strict=True)):
        value = f"{outputs}[{index}]"
        if np.isfinite(low) and np.isfinite(high):
            yield f"{value} = {value} < -1 ? -1 : {value} > 1 ? 1 : {value};"
            value = f"{_c(low)} + ({value} + 1) / 2 * {_c(high - low)}"
        elif np.isfinite(low):
            value = f"{value} < {_c(low)} ? {_c(low)} : {value}"
        elif np.isfinite(high):
            value = f"{value} > {_c(high)} ? {_c(high)} : {value}"
        is_whole = not np.issubdtype(space.dtype, np.floating)
        yield f"action[{index}] = {f'rintf({value})' if is_whole else value};"


def _choices(space: gym.Space[Any]) -> Iterator[tuple[int, int]]:
    """Yield the first, and the number, of each choice that an observation has."""
    match space:
        case gym.spaces.Discrete():
            yield int(space.start), int(space.n)
        case gym.spaces.MultiDiscrete():
            yield from zip(space.start.ravel().tolist(), space.nvec.ravel().tolist(), strict=True)


def _chosen(plan: Plan) -> list[tuple[int, int]]:
    """Return the first, and the number, of each choice that an action has."""
    sizes = choices_of(plan.action_spec)
    starts = np.broadcast_to(np.asarray(getattr(plan.action_space, "start", 0)).ravel(), len(sizes))
    return [*zip(starts.tolist(), sizes, strict=True)]


def _said(name: str, space: gym.Space[Any]) -> str:
    if chosen := [*_choices(space)]:
        return f"{name}, {_said_of_choices(chosen)}"
    return f"{name}, {int(np.prod(space.shape or ()))} numbers"


def _said_of_action(plan: Plan) -> str:
    space: Any = plan.action_space
    if not isinstance(plan.action_spec, Continuous):
        return _said_of_choices(_chosen(plan))
    bounds = zip(space.low.ravel().tolist(), space.high.ravel().tolist(), strict=True)
    return "; ".join(f"a number from {low:g} to {high:g}" for low, high in bounds)


def _said_of_choices(choices: Sequence[tuple[int, int]]) -> str:
    return "; ".join(f"a choice from {start} to {start + number - 1}" for start, number in choices)


def _width(plan: Plan) -> int:
    return max(len(bias) for _, bias in plan.layers)


def _array(name: str, array: Any) -> Iterator[str]:
    numbers = [_c(value) for value in array.ravel().tolist()]
    yield f"static const float {name}[{len(numbers)}] = {{"
    for first in range(0, len(numbers), 8):
        yield f"  {', '.join(numbers[first : first + 8])},"
    yield "};"


def _c(value: float) -> str:
    """Return a number as C has it, to the last bit of a float."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
