"""The graph that ONNX Runtime would run of a file on this machine, with the shapes of its tensors at batch 1. Nothing is run.

The runtime writes its optimized graph without shapes. They are carried through it from the input on: by `shapes`' rules,
from the file's own shape inference where a tensor kept its name, and unchanged elsewhere.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from compress.errors import DeviceError
from compress.profile.runners.onnxruntime import Runner
from compress.profile.shapes import GLOBAL, WINDOWED, Shape, output_shape
from compress.profile.work import at_batch_one, load, shapes_in

BLOCKED = "com.microsoft.nchwc"
"""Domain of the operators whose channels are laid out in blocks of one vector."""
INSERTED = {"Transpose", "QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput"} | WINDOWED | GLOBAL
"""What the runtime adds, or runs in a layout of its own: its results have other shapes than the file says, or other names."""


class _Writing(Runner):
    """Writes down the graph that is run. A free batch stays free: the runtime fuses otherwise when it knows that it is 1."""

    def __init__(self, path: Path, folder: Path, *, threads: int) -> None:
        super().__init__(path, threads=threads)
        self.folder = folder
        self.model = load(path)

    def graph(self) -> tuple[onnx.GraphProto, dict[str, Shape]]:
        """What the runtime runs, and the shapes of its tensors."""
        graph = onnx.load(self.folder / "optimized.onnx", load_external_data=False).graph
        return graph, _carried(graph, shapes_in(at_batch_one(self.model).graph), self.path)

    def _options(self) -> Any:
        options = super()._options()
        options.optimized_model_filepath = str(self.folder / "optimized.onnx")
        return options


class Stamping(_Writing):
    """Stamps every kernel while it runs, too."""

    def stamps(self) -> list[dict[str, Any]]:
        """End stamping; all events."""
        found: list[dict[str, Any]] = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        return found

    def _options(self) -> Any:
        options = super()._options()
        options.enable_profiling = True
        options.profile_file_prefix = str(self.folder / "profile")
        return options


def optimized(path: Path, *, threads: int = 1) -> tuple[onnx.GraphProto, dict[str, Shape]]:
    """The optimized graph, and shapes by tensor.

    Raises:
        ConversionError: Not an ONNX file, or one that the runtime does not take.
        DeviceError: A shape cannot be told even with the batch set to 1.
    """
    with tempfile.TemporaryDirectory() as folder, _Writing(path, Path(folder), threads=threads) as writing:
        return writing.graph()


def _carried(graph: onnx.GraphProto, told: Mapping[str, Shape], path: Path) -> dict[str, Shape]:
    """Shapes of every tensor of the optimized graph; `told` are those of the file."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    constants = {item.name: tuple(map(int, numpy_helper.to_array(item).flat)) for item in graph.initializer if _is_list(item)}
    shapes |= {item.name: told[item.name] for item in graph.input if item.name in told}
    for node in graph.node:
        for place, name in enumerate(node.output):
            own = node.op_type in INSERTED or node.domain == BLOCKED or name not in told
            found = output_shape(node, shapes, constants, place) if own else told[name]
            if any(size <= 0 for size in found):
                msg = f"{path}: the shape of {name!r} is not known at batch 1; export with fixed sizes to estimate its cost"
                raise DeviceError(msg)
            shapes[name] = found
    return shapes


def _is_list(tensor: onnx.TensorProto) -> bool:
    """Whether it may hold a shape, or sizes of parts."""
    return bool(tensor.data_type == onnx.TensorProto.INT64 and len(tensor.dims) == 1)
