"""The graph that ONNX Runtime would run of a file on this machine, with the shapes of its tensors at batch 1. Nothing is run.

The runtime writes its optimized graph without shapes. They are carried through it from the input on: by `shapes`' rules,
from the file's own shape inference where a tensor kept its name, and unchanged elsewhere.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import onnx
from onnx import numpy_helper

from compress.config.devices import host
from compress.core.errors import DeviceError
from compress.profile.cost_model.kernel_shapes import GLOBAL, WINDOWED, Shape, channel_block, output_shape
from compress.profile.cost_model.operator_work import at_batch_one, load, shapes_in
from compress.profile.layers.ort_profile import GRAPH, GraphDumpRunner

BLOCKED = "com.microsoft.nchwc"
"""Domain of the operators whose channels are laid out in blocks of one vector."""
INSERTED = {"Transpose", "QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput"} | WINDOWED | GLOBAL
"""What the runtime adds, or runs in a layout of its own: its results have other shapes than the file says, or other names."""


def optimize_graph(path: Path, *, threads: int = 1) -> tuple[onnx.GraphProto, dict[str, Shape]]:
    """The optimized graph, and shapes by tensor.

    Raises:
        ConversionError: Not an ONNX file, or one that the runtime does not take.
        DeviceError: A shape cannot be told even with the batch set to 1.
    """
    with tempfile.TemporaryDirectory() as folder:
        with GraphDumpRunner(path, Path(folder), threads=threads):
            pass
        return read_optimized_graph(Path(folder) / GRAPH, path)


def read_optimized_graph(
    optimized: Path, path: Path, instruction_sets: Collection[str] | None = None
) -> tuple[onnx.GraphProto, dict[str, Shape]]:
    """What the runtime runs, and the shapes of its tensors.

    Args:
        optimized: The graph as the runtime wrote it, here or on another machine.
        path: The file that it was made from.
        instruction_sets: Of the machine that wrote it; None for this one.

    Raises:
        ConversionError: Not an ONNX file.
        DeviceError: A shape cannot be told even with the batch set to 1.
    """
    if instruction_sets is None:
        machine = host().hardware
        instruction_sets = machine.instruction_sets if machine else ()
    graph = load(optimized).graph
    return graph, _carried(graph, shapes_in(at_batch_one(load(path)).graph), path, channel_block(instruction_sets))


def _carried(graph: onnx.GraphProto, told: Mapping[str, Shape], path: Path, block: int) -> dict[str, Shape]:
    """Shapes of every tensor of the optimized graph; `told` are those of the file."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    constants = {item.name: tuple(map(int, numpy_helper.to_array(item).flat)) for item in graph.initializer if _is_list(item)}
    shapes |= {item.name: told[item.name] for item in graph.input if item.name in told}
    for node in graph.node:
        for place, name in enumerate(node.output):
            own = node.op_type in INSERTED or node.domain == BLOCKED or name not in told
            found = output_shape(node, shapes, constants, place, block) if own else told[name]
            if any(size <= 0 for size in found):
                msg = f"{path}: the shape of {name!r} is not known at batch 1; export with fixed sizes to estimate its cost"
                raise DeviceError(msg)
            shapes[name] = found
    return shapes


def _is_list(tensor: onnx.TensorProto) -> bool:
    """Whether it may hold a shape, or sizes of parts."""
    there = tensor.data_location != onnx.TensorProto.EXTERNAL
    return bool(there and tensor.data_type == onnx.TensorProto.INT64 and len(tensor.dims) == 1)
