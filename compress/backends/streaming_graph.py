"""ONNX network of causal convolutions → a network for a stream: chunk and states go in, outputs and next states come out.

A causal convolution sees zeros before the beginning: padding at the left alone, of the length of its receptive field less its
stride. In a stream these are the last samples of the chunk before, so each such padding becomes

    x' = [state, x],   next state = the last samples of x'

with zeros as the first state. Nothing else changes, so that the outputs of the chunks, one after the other, are those of the
whole clip. Of a convolution in integers, the state is put before its quantization, which treats each value alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compress.core.errors import ConversionError
from compress.core.language import gettext

MOST = np.iinfo(np.int64).max
TIME = 2
"""Axis of time of a signal (N, C, T)."""


@dataclass(frozen=True)
class StreamState:
    """A state of a network for a stream.

    Attributes:
        name: Of the input; the output is `NAME_next`.
        channels: C.
        frames: Length of the state.
    """

    name: str
    channels: int
    frames: int

    @property
    def next_name(self) -> str:
        """Name of the output."""
        return f"{self.name}_next"


@dataclass(frozen=True)
class StreamingGraph:
    """A network for a stream.

    Attributes:
        model: The network.
        states: Its states, in order.
        step: Samples that a chunk must be a multiple of.
    """

    model: onnx.ModelProto
    states: tuple[StreamState, ...]
    step: int


def to_streaming(model: onnx.ModelProto, channels_of: Sequence[tuple[str, int]] = ()) -> StreamingGraph:
    """The network for a stream.

    Args:
        model: A network whose convolutions over time are all causal; not changed.
        channels_of: Channels of tensors by name, where type inference does not tell them.

    Raises:
        ConversionError: A convolution sees later frames, or there is none that sees earlier ones.
    """
    streaming = onnx.ModelProto()
    streaming.CopyFrom(model)
    graph = streaming.graph
    widths = dict(channels_of) | _channels(model)
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    before = _left_padding(graph, constants)
    states: list[StreamState] = []
    nodes: list[onnx.NodeProto] = []
    steps = []
    for node in graph.node:
        if node.op_type == "Conv":
            padding = before.get(node.input[0], 0)
            steps.append(_stride(node))
            own = _check(node, constants, padding)
            if own:
                _set_pads(node)
                copies = _own_quantization(node, graph, len(states))
                nodes += _with_state(copies[0] if copies else node, own, states, widths)
                nodes += copies
        if node.op_type == "Pad" and node.output[0] in before:
            nodes += _with_state(node, before[node.output[0]], states, widths, replaces=True)
            continue
        nodes.append(node)
    if not states:
        raise ConversionError(gettext("no convolution of the network sees earlier frames, so there is nothing to stream"))
    del graph.node[:]
    graph.node.extend(nodes)
    for state in states:
        shape = ["batch", state.channels, state.frames]
        graph.input.append(helper.make_tensor_value_info(state.name, onnx.TensorProto.FLOAT, shape))
        graph.output.append(helper.make_tensor_value_info(state.next_name, onnx.TensorProto.FLOAT, shape))
    del graph.value_info[:], streaming.metadata_props[:]
    onnx.checker.check_model(streaming)
    return StreamingGraph(streaming, tuple(states), prod(step for step in steps))


def _channels(model: onnx.ModelProto) -> dict[str, int]:
    """Channels of the tensors (N, C, T), as far as type inference tells them."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    return {name: shape[1] for name, shape in shapes.items() if len(shape) == TIME + 1 and shape[1]}


def _left_padding(graph: onnx.GraphProto, constants: dict[str, np.ndarray]) -> dict[str, int]:
    """Frames of zeros before the beginning, by the output of each `Pad` of signals.

    Raises:
        ConversionError: One pads at the right.
    """
    found = {}
    for node in graph.node:
        if node.op_type != "Pad" or node.input[1] not in constants:
            continue
        pads = [int(each) for each in constants[node.input[1]]]
        if len(pads) != 2 * (TIME + 1) or not any(pads):
            continue
        if any(pads[:TIME]) or any(pads[TIME + 1 :]):
            raise _not_causal(node)
        found[node.output[0]] = pads[TIME]
    return found


def _check(node: onnx.NodeProto, constants: dict[str, np.ndarray], padding: int) -> int:
    """Frames of zeros that a convolution adds itself before the beginning.

    Raises:
        ConversionError: It sees later frames.
    """
    pads = next((list(each.ints) for each in node.attribute if each.name == "pads"), [0, 0])
    kernel = next((list(each.ints) for each in node.attribute if each.name == "kernel_shape"), None)
    dilation = next((each.ints[0] for each in node.attribute if each.name == "dilations"), 1)
    size = kernel[0] if kernel is not None else constants[node.input[1]].shape[2]
    needed = dilation * (size - 1) + 1 - _stride(node)
    if len(pads) != 2 or pads[1] or pads[0] + padding != max(0, needed):
        raise _not_causal(node)
    return int(pads[0])


def _own_quantization(node: onnx.NodeProto, graph: onnx.GraphProto, number: int) -> list[onnx.NodeProto]:
    """Copies of the nodes that quantize the input of a convolution, for it alone; empty for one in float."""
    makers = {output: each for each in graph.node for output in each.output}
    dequantize = makers.get(node.input[0])
    quantize = makers.get(dequantize.input[0]) if dequantize is not None and dequantize.op_type == "DequantizeLinear" else None
    if dequantize is None or quantize is None or quantize.op_type != "QuantizeLinear":
        return []
    copies = []
    source = quantize.input[0]
    for original in (quantize, dequantize):
        copy = onnx.NodeProto()
        copy.CopyFrom(original)
        copy.name = f"state_{number}/{original.op_type}"
        copy.input[0] = source
        source = f"{copy.name}_output"
        copy.output[0] = source
        copies.append(copy)
    node.input[0] = source
    return copies


def _stride(node: onnx.NodeProto) -> int:
    return next((int(each.ints[0]) for each in node.attribute if each.name == "strides"), 1)


def _set_pads(node: onnx.NodeProto) -> None:
    for each in node.attribute:
        if each.name == "pads":
            each.ints[:] = [0, 0]


def _with_state(
    node: onnx.NodeProto, frames: int, states: list[StreamState], widths: dict[str, int], *, replaces: bool = False
) -> list[onnx.NodeProto]:
    """Nodes that put a state before the first input of a node; of a `Pad` they take its place.

    Raises:
        ConversionError: The number of channels is not known.
    """
    source = node.input[0]
    if source not in widths:
        msg = gettext("the number of channels of {tensor} is not known, so its state has no shape", tensor=source)
        raise ConversionError(msg)
    state = StreamState(f"state_{len(states)}", widths[source], frames)
    states.append(state)
    joined = node.output[0] if replaces else f"{state.name}_joined"
    if not replaces:
        node.input[0] = joined
    limits = [f"{state.name}_{name}" for name in ("start", "end", "axis")]
    values = (-frames, MOST, TIME)
    return [
        helper.make_node("Concat", [state.name, source], [joined], name=f"{state.name}/Concat", axis=TIME),
        *(
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array([value], np.int64), name))
            for name, value in zip(limits, values, strict=True)
        ),
        helper.make_node("Slice", [joined, *limits], [state.next_name], name=f"{state.name}/Slice"),
    ]


def _not_causal(node: onnx.NodeProto) -> ConversionError:
    return ConversionError(
        gettext("{node} sees later frames, so the network cannot run in a stream; set args: {{causal: true}}", node=node.name)
    )
