"""Work of the operators that a file executes on given inputs, counted in one run.

Shapes that depend on free axes, index arithmetic or control flow are only known at run time. ONNX Runtime's profiler records
the input and output shapes of each kernel call, in branches and loops too. Graph optimizations are off, so that each kernel is
a node of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime
from onnx import inliner

from compress.backends import onnx_files
from compress.backends.read_graph import all_nodes
from compress.backends.runner_protocol import Feeds
from compress.core.errors import CompressError
from compress.core.language import gettext, ngettext
from compress.core.record import Quantity
from compress.profile.cost_model.contrib_operators import WITH_FORMULA
from compress.profile.cost_model.operator_work import COUNTED, QUANTIZERS, GraphWork, OperatorWork
from compress.profile.layers.ort_profile import Event, ProfilingRunner, TypedShapes, kernel_name

TAG = re.compile(r"work(\d+)_")
STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
NOT_COUNTED = frozenset({"DFT", "STFT", "DeformConv", "GridSample", "TreeEnsemble"})
"""ONNX operators that compute sums of products and have no formula here."""
WITHOUT_PRODUCTS = frozenset({"BiasGelu", "FastGelu", "Gelu", "QuickGelu", "SkipLayerNormalization"})
"""Contrib operators of ONNX Runtime without sums of products, besides those named QLinear…."""


@dataclass(frozen=True)
class ExecutedWork:
    """Work of one run.

    Attributes:
        operators: Work of each operator, once per execution.
        uncounted: Types of executed operators that have no formula.
    """

    operators: tuple[OperatorWork, ...]
    uncounted: tuple[str, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions, matrix products and recurrences."""
        return sum(item.operations for item in self.operators if item.kind != "other") // 2


def executed_work(path: Path, feeds: Feeds) -> ExecutedWork:
    """Run a file once and count the work of its operators.

    Args:
        path: ONNX file.
        feeds: Inputs.

    Raises:
        ConversionError: The file cannot be loaded or run.
        DeviceError: An operator has malformed attributes or inputs, or memory ran out.
    """
    model = onnx_files.load(path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    nodes = [*all_nodes(model.graph)]
    names = [node.name for node in nodes]
    for index, node in enumerate(nodes):
        node.name = f"work{index}_"
    events = _profile(model, feeds)
    for node, name in zip(nodes, names, strict=True):  # restore the names, which appear in messages
        node.name = name
    by_node = _by_node(events)
    positions = {id(node): index for index, node in enumerate(nodes)}
    operators: list[OperatorWork] = []
    for graph in _graphs(model.graph):
        indices = [positions[id(node)] for node in graph.node]
        shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        for node, index in zip(graph.node, indices, strict=True):
            for event in by_node.get(index, ())[:1]:
                shapes |= _shapes(node.input, event["args"].get("input_type_shape", [])) | _shapes(
                    node.output, event["args"].get("output_type_shape", [])
                )
        runs = {position: len(by_node.get(index, ())) for position, index in enumerate(indices)}
        operators += GraphWork(graph, shapes, path, runs=runs, exact=True).work()
    ran = [nodes[index] for index in sorted(by_node)]
    return ExecutedWork(tuple(operators), tuple(dict.fromkeys(_operator(node) for node in ran if not _is_counted(node))))


def macs_quantity(path: Path, feeds: Feeds) -> Quantity:
    """Multiply-accumulates of one run; missing with the reason if the file does not run or an operator has no formula."""
    try:
        work = executed_work(path, feeds)
    except CompressError as error:
        return Quantity.missing("MAC", gettext("the file does not run ({error})", error=error))
    if work.uncounted:
        names = ", ".join(work.uncounted)
        reason = ngettext(
            "no formula for operator {names}", "no formula for operators {names}", len(work.uncounted), names=names
        )
        return Quantity.missing("MAC", reason)
    return Quantity.measured(work.macs, "MAC", gettext("counted in one run"), runs=1)


class _AsWrittenRunner(ProfilingRunner):
    """Profiles the nodes of the file: no fusion, and no prepacking, so that weights remain inputs of their kernels."""

    def _options(self) -> onnxruntime.SessionOptions:
        self.level = "off"
        options = super()._options()
        options.add_session_config_entry("session.disable_prepacking", "1")
        return options


def _profile(model: onnx.ModelProto, feeds: Feeds) -> list[Event]:
    """Kernel events of one run of the unoptimized graph."""
    with TemporaryDirectory() as folder:
        tagged = Path(folder) / "tagged.onnx"
        onnx_files.save(model, tagged)
        with _AsWrittenRunner(tagged, Path(folder), threads=1) as runner:
            runner.run(feeds)
            return [event for event in runner.read_events() if event.get("cat") == "Node"]


def _by_node(events: Sequence[Event]) -> dict[int, list[Event]]:
    """Kernel events by index of the node."""
    by_node: dict[int, list[Event]] = {}
    for event in events:
        match = TAG.match(kernel_name(event))
        if match and event["name"].endswith("_kernel_time"):
            by_node.setdefault(int(match[1]), []).append(event)
    return by_node


def _shapes(names: Sequence[str], typed: TypedShapes) -> dict[str, tuple[int, ...]]:
    """Shapes of a node's tensors by name; empty if one of them has no shape, such as a sequence.

    Omitted tensors have neither a name nor a shape.
    """
    present = [name for name in names if name]
    shapes = [tuple(shape) for entry in typed for shape in entry.values()]
    return dict(zip(present, shapes, strict=True)) if len(present) == len(shapes) else {}


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the subgraphs of its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _graphs(inner)


def _is_counted(node: onnx.NodeProto) -> bool:
    if node.domain in STANDARD:
        return node.op_type not in NOT_COUNTED
    return node.op_type in COUNTED | QUANTIZERS | WITHOUT_PRODUCTS | WITH_FORMULA or node.op_type.startswith("QLinear")


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in STANDARD else str(node.op_type)
