"""A policy as an ONNX model: raw observations in, the environment's own actions out. See https://onnx.ai."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from torch import nn

from ppocli.algorithm.networks import FORBIDDEN
from ppocli.algorithm.normalize import OBS_LIMIT
from ppocli.algorithm.vision import Residual
from ppocli.envs.api import Continuous
from ppocli.envs.masks import choices_of
from ppocli.envs.spaces import leaves
from ppocli.errors import PpocliError
from ppocli.portable.check import Act, States
from ppocli.portable.plan import Part, Plan

OPSET, FORM = 18, 8  # of operators and of files: not the newest, so that every runtime of today reads them
BATCH = "batch"
STATE, STATE_AFTER, MASK, NOISE, ACTION = "state", "state_after", "action_mask", "noise", "action"
_MISSING = 'ONNX needs the packages onnx and onnxruntime: pip install "ppocli[onnx]"'
_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "elu": "Elu"}  # which ONNX has as one operator


def model_of(plan: Plan, about: dict[str, str], *, stochastic: bool = False) -> Any:
    """Return the model, an `onnx.ModelProto`, whose first axis is as long as you like; `about` goes into its metadata.

    Its inputs are each part of an observation under its name (`obs` where it has none), as the environment gives it;
    `action_mask` where actions are masked, 1 for what is allowed; `state` where there is a memory, zeros at first; and
    if `stochastic`, `noise` (N, outputs), standard Gumbel for choices and standard normal for real numbers. Outputs are
    `action`, and `state_after`. Raises PpocliError without the package onnx.
    """
    graph = _Graph()
    seen = _seen(graph, plan)
    outputs: list[Any] = []
    if plan.memory is not None:
        seen = _remembered(graph, plan, seen)
        outputs.append(graph.value(STATE_AFTER, np.float32, [BATCH, plan.memory_size]))
    last = _layers(graph, plan, seen)
    if plan.obs_spec.num_masked:
        mask = graph.input(MASK, np.int8, [BATCH, plan.obs_spec.num_masked])
        forbidden = graph.node("Not", [graph.cast(mask, np.bool_)])
        last = graph.node("Where", [forbidden, graph.constant(np.float32(FORBIDDEN)), last])
    if stochastic:
        noise = graph.input(NOISE, np.float32, [BATCH, plan.num_outputs])
        if plan.log_std is not None:
            noise = graph.node("Mul", [noise, graph.constant(np.exp(plan.log_std))])
        last = graph.node("Add", [last, noise])
    graph.node("Identity", [_action(graph, plan, last)], ACTION)
    shape = list(plan.action_space.shape or ())
    outputs.insert(0, graph.value(ACTION, plan.action_space.dtype, [BATCH, *shape]))
    return graph.model(outputs, about)


def acting(model: Any, plan: Plan, space: gym.Space[Any]) -> Act:
    """Return what acts by a model, on observations of a space, as `onnxruntime` runs it; noise is 0.

    Raises PpocliError without that package.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise PpocliError(_MISSING) from error
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    takes_noise = NOISE in {taken.name for taken in session.get_inputs()}

    def act(obs: Any, mask: Any, states: States) -> tuple[Any, States]:
        given = {part.name: np.asarray(leaf.of(obs)) for part, leaf in zip(plan.parts, leaves(space), strict=True)}
        size = len(next(iter(given.values())))
        if mask is not None:
            given[MASK] = mask
        if plan.memory is not None:
            given[STATE] = np.zeros((size, plan.memory_size), np.float32) if states is None else states
        if takes_noise:
            given[NOISE] = np.zeros((size, plan.num_outputs), np.float32)
        action, *after = session.run(None, given)
        return action, after[0] if after else None

    return act


class _Graph:
    """The nodes, inputs and constants of a model that is being built; values are known by their names."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise PpocliError(_MISSING) from error
        self._onnx, self._names = onnx, (f"v{number}" for number in count())
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._constants: list[Any] = []

    def input(self, name: str, dtype: Any, shape: Sequence[Any]) -> str:
        self._inputs.append(self.value(name, dtype, shape))
        return name

    def value(self, name: str, dtype: Any, shape: Sequence[Any]) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._type(dtype), shape)

    def constant(self, value: Any) -> str:
        name = next(self._names)
        self._constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or next(self._names)
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def several(self, operator: str, inputs: Sequence[str], number: int, **attributes: Any) -> list[str]:
        outputs = [next(self._names) for _ in range(number)]
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs

    def cast(self, name: str, dtype: Any) -> str:
        return self.node("Cast", [name], to=self._type(dtype))

    def reshaped(self, name: str, *shape: int) -> str:
        return self.node("Reshape", [name, self.constant(np.array([-1, *shape], np.int64))])

    def joined(self, names: Sequence[str]) -> str:
        return names[0] if len(names) == 1 else self.node("Concat", names, axis=1)

    def clipped(self, name: str, limit: float, dtype: type = np.float32) -> str:
        return self.node("Clip", [name, self.constant(dtype(-limit)), self.constant(dtype(limit))])

    def linear(self, name: str, weight: Any, bias: Any) -> str:
        return self.node("Gemm", [name, self.constant(weight), self.constant(bias)], transB=1)

    def model(self, outputs: Sequence[Any], about: dict[str, str]) -> Any:
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "policy", self._inputs, outputs, self._constants)
        operators = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=operators, ir_version=FORM, producer_name="ppocli")
        helper.set_model_props(model, about)
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _type(self, dtype: Any) -> int:
        found: int = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return found


def _seen(graph: _Graph, plan: Plan) -> str:
    """Return what layers, or a memory, take of an observation."""
    numbers, pictures = [], []
    for part in plan.parts:
        name = graph.input(part.name, part.space.dtype, [BATCH, *(part.space.shape or ())])
        if part.picture is None:
            numbers.append(_numbers(graph, part, name))
        else:
            pictures.append(_picture(graph, part, name))
    beside = [graph.joined(numbers)] if numbers else []
    if beside and plan.normalizer is not None:
        mean, std = map(graph.constant, plan.normalizer)
        beside = [graph.clipped(graph.node("Div", [graph.node("Sub", [*beside, mean]), std]), OBS_LIMIT)]
    if plan.vision is None:
        return beside[0]
    *convolutions, layer = plan.vision
    assert isinstance(layer, nn.Linear)
    flat = [
        graph.node("Flatten", [_through(graph, picture, convolution)])
        for picture, convolution in zip(pictures, convolutions, strict=True)
    ]
    return graph.node("Relu", [graph.linear(graph.joined([*flat, *beside]), *_weights(layer))])


def _numbers(graph: _Graph, part: Part, name: str) -> str:
    """Return a part as real numbers (N, size): a choice as one-hot ones."""
    match part.space:
        case gym.spaces.Discrete():
            start, sizes = np.array([part.space.start]), [int(part.space.n)]
        case gym.spaces.MultiDiscrete():
            start, sizes = part.space.start.ravel(), part.space.nvec.ravel().tolist()
        case _:
            return graph.reshaped(graph.cast(name, np.float32), int(np.prod(part.space.shape or ())))
    choices = graph.reshaped(graph.cast(name, np.int64), len(sizes))
    choices = graph.node("Sub", [choices, graph.constant(start.astype(np.int64))])
    columns = [choices]
    if len(sizes) > 1:
        columns = graph.several("Split", [choices], len(sizes), axis=1, num_outputs=len(sizes))
    off_and_on = graph.constant(np.array([0, 1], np.float32))
    one_hot = [
        graph.node("OneHot", [column, graph.constant(np.int64(size)), off_and_on])
        for column, size in zip(columns, sizes, strict=True)
    ]
    return graph.joined([graph.reshaped(part, size) for part, size in zip(one_hot, sizes, strict=True)])


def _picture(graph: _Graph, part: Part, name: str) -> str:
    """Return a picture as (N, channels, height, width) of numbers from 0 to 1."""
    picture = part.picture
    assert picture is not None
    each = graph.reshaped(name, int(np.prod(picture.shape[:-3])), *picture.last)
    each = graph.node("Transpose", [each], perm=[0, 1, *(2 + axis for axis in picture.axes)])
    numbers = graph.cast(graph.reshaped(each, *picture.form), np.float32)
    return graph.node("Div", [numbers, graph.constant(np.float32(255))])


def _through(graph: _Graph, x: str, module: nn.Module) -> str:
    """Return what a convolutional network makes of x (N, channels, height, width)."""
    match module:
        case nn.Sequential():
            for inner in module:
                x = _through(graph, x, inner)
            return x
        case nn.Conv2d():
            constants = [graph.constant(weights) for weights in _weights(module)]
            pads = [int(pad) for pad in module.padding] * 2
            return graph.node("Conv", [x, *constants], pads=pads, strides=list(module.stride))
        case nn.MaxPool2d(kernel_size=int(kernel), stride=int(stride), padding=int(pad)):
            return graph.node("MaxPool", [x], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        case nn.ReLU():
            return graph.node("Relu", [x])
        case Residual():
            between = _through(graph, graph.node("Relu", [x]), module.first)
            return graph.node("Add", [x, _through(graph, graph.node("Relu", [between]), module.second)])
    raise NotImplementedError(module)


def _remembered(graph: _Graph, plan: Plan, seen: str) -> str:
    """Return what is remembered after what is seen, (N, size): ONNX has the gates in the order z, r, n."""
    assert plan.memory is not None
    size = plan.memory_size
    state = graph.input(STATE, np.float32, [BATCH, size])
    w, u, b, c = (_as_z_r_n(weights) for weights in plan.memory)
    constants = [graph.constant(weights[None]) for weights in (w, u, np.concatenate([b, c]))]
    first = graph.constant(np.array([0], np.int64))
    step, before = (graph.node("Unsqueeze", [name, first]) for name in (seen, state))
    _, after = graph.several("GRU", [step, *constants, "", before], 2, hidden_size=size, linear_before_reset=1)
    return graph.node("Squeeze", [after, first], STATE_AFTER)


def _as_z_r_n(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    r, z, n = np.split(weights, 3)
    return np.concatenate([z, r, n])


def _layers(graph: _Graph, plan: Plan, x: str) -> str:
    for number, (weight, bias) in enumerate(plan.layers):
        if number:
            x = _activated(graph, x, plan.activation)
        x = graph.linear(x, weight, bias)
    return x


def _activated(graph: _Graph, x: str, activation: str) -> str:
    """Return f(x): silu as x σ(x), gelu as x (1 + erf(x / √2)) / 2."""
    if activation in _ACTIVATIONS:
        return graph.node(_ACTIVATIONS[activation], [x])
    if activation == "silu":
        return graph.node("Mul", [x, graph.node("Sigmoid", [x])])
    erf = graph.node("Erf", [graph.node("Mul", [x, graph.constant(np.float32(0.5**0.5))])])
    half = graph.node("Mul", [x, graph.constant(np.float32(0.5))])
    return graph.node("Mul", [half, graph.node("Add", [erf, graph.constant(np.float32(1))])])


def _action(graph: _Graph, plan: Plan, outputs: str) -> str:
    """Return the environment's action of the last layer's outputs: the best choices, or numbers in their bounds."""
    space, shape = plan.action_space, [int(size) for size in plan.action_space.shape or ()]
    if isinstance(plan.action_spec, Continuous):
        assert isinstance(space, gym.spaces.Box)
        return graph.cast(graph.reshaped(_in_bounds(graph, space, outputs), *shape), space.dtype)
    sizes = list(choices_of(plan.action_spec))
    parts = [outputs]
    if len(sizes) > 1:
        parts = graph.several("Split", [outputs, graph.constant(np.array(sizes, np.int64))], len(sizes), axis=1)
    chosen = graph.joined([graph.node("ArgMax", [part], axis=1, keepdims=1) for part in parts])
    start = np.asarray(getattr(space, "start", 0), np.int64).ravel()
    return graph.cast(graph.reshaped(graph.node("Add", [chosen, graph.constant(start)]), *shape), space.dtype)


def _in_bounds(graph: _Graph, space: gym.spaces.Box, outputs: str) -> str:
    """Do what `envs.spaces.to_box` does: −1 … 1 is the whole range, and what has no bounds stands for itself."""
    low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    bounded = np.isfinite(low) & np.isfinite(high)
    bottom, width = np.where(bounded, low, 0), np.where(bounded, high, 0) - np.where(bounded, low, 0)
    constant, exact = graph.constant, graph.cast(outputs, np.float64)
    share = graph.node("Add", [graph.clipped(exact, 1, np.float64), constant(np.float64(1))])
    share = graph.node("Div", [share, constant(np.float64(2))])
    within = graph.node("Add", [graph.node("Mul", [share, constant(width)]), constant(bottom)])
    mapped = graph.node("Where", [constant(bounded), within, exact])
    mapped = graph.node("Min", [graph.node("Max", [mapped, constant(low)]), constant(high)])
    return mapped if np.issubdtype(space.dtype, np.floating) else graph.node("Round", [mapped])


def _weights(layer: nn.Linear | nn.Conv2d) -> tuple[Any, Any]:
    assert layer.bias is not None
    return layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy()
