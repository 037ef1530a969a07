"""Build and measure networks with some layers in float, for the mixed-precision searches."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import onnx
import onnx_ir as ir

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.compare_on_split import compare_on_split, record_outputs
from compress.backends.iterate_split import Network
from compress.backends.run_split import run_split
from compress.core.network_spec import NetworkSpec
from compress.core.stage import Context
from compress.quantize.analysis.sqnr import energy_ratio_db
from compress.quantize.qdq.placement import WEIGHTED
from compress.quantize.target_requirements import MODEL_FILES

RUNTIME = "onnxruntime"
MAX_SQNR_DB = 200.0
"""Replaces the infinite SQNR of equal outputs."""


class TrialPlan(Protocol):
    """Builds a network with any nodes in float: that of static int8, or `schemes.DynamicInt8Plan`.

    Attributes:
        model: Float network.
    """

    @property
    def model(self) -> ir.Model:
        """Float network."""

    def build(self, runtime: str, exclude: tuple[str, ...], spec: NetworkSpec) -> onnx.ModelProto:
        """Build the quantized network for one runtime."""


class TrialBuilder:
    """Builds networks and measures them on the validation split in ONNX Runtime.

    Args:
        plan: Plan from which networks are built.
        excluded: Names of nodes that always stay in float.
        spec: Metadata for the files.
        context: Data and task.
        batch_size: Samples per batch of the quantized network.

    Attributes:
        layers: Names of the layers that may stay in float, in graph order.
    """

    def __init__(
        self, plan: TrialPlan, excluded: tuple[str, ...], spec: NetworkSpec, context: Context, *, batch_size: int = 64
    ) -> None:
        self.plan, self.excluded, self.spec, self.context = plan, excluded, spec, context
        self.batch_size = batch_size
        self._last: tuple[tuple[str, ...], onnx.ModelProto] | None = None
        names = (str(node.name) for node in plan.model.graph if node.op_type in WEIGHTED and _has_weight(node))
        self.layers = tuple(name for name in names if name not in excluded)

    def build(self, float_layers: tuple[str, ...]) -> onnx.ModelProto:
        """The network with these layers in float; the latest network is cached."""
        if self._last is None or self._last[0] != float_layers:
            self._last = float_layers, self.plan.build(RUNTIME, (*self.excluded, *float_layers), self.spec)
        return self._last[1]

    def save(self, float_layers: tuple[str, ...]) -> None:
        """Write the network to the file of the stage."""
        onnx_files.save(self.build(float_layers), self.context.folder / MODEL_FILES[RUNTIME])

    def size_bytes(self, float_layers: tuple[str, ...]) -> float:
        """File size of the network, bytes."""
        return float(self.build(float_layers).ByteSize())

    def evaluate(self, float_layers: tuple[str, ...]) -> tuple[float, float]:
        """Loss of the metric, and SQNR of the outputs in dB."""
        task = self.context.task
        split, network = self.context.data.validation, self.build(float_layers)
        comparison = compare_on_split(self._float_network, network, split, task, other_batch_size=self.batch_size)
        loss = -task.metric_info.gain(task.deciding.value(comparison.reference), task.deciding.value(comparison.other))
        sqnr_db = min(energy_ratio_db(comparison.signal, comparison.noise), MAX_SQNR_DB)
        return loss, sqnr_db

    def float_metric(self) -> float:
        """Metric of the float network."""
        return run_split(self._float_network, self.context.data.validation, self.context.task).metric

    @cached_property
    def _float_network(self) -> Network:
        """The float network, or its recorded outputs if they are small enough."""
        return record_outputs(graphs.to_proto(self.plan.model), self.context.data.validation, self.context.task)


def _has_weight(node: ir.Node) -> bool:
    """Whether a node reads a constant: a product of two activations stays in float in any case."""
    return any(value is not None and value.is_initializer() for value in node.inputs)
