"""Networks with some layers in float, made and measured for the search of mixed precision."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import onnx

from compress.backends.run_split import collect_outputs
from compress.core.record import InputSpec
from compress.core.stage import Context
from compress.quantize.analysis.accuracy_vs_float import per_sample_scores
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.qdq.placement import WEIGHTED
from compress.quantize.static_int8 import StaticInt8Plan

FAMILY = "onnxruntime"


class TrialBuilder:
    """Makes and measures, on validation under ONNX Runtime.

    Args:
        static: What files are made from.
        excluded: Names that stay in float in any case.
        spec: For the file's description.
        context: Data and task.
    """

    def __init__(self, static: StaticInt8Plan, excluded: tuple[str, ...], spec: InputSpec, context: Context) -> None:
        self.static, self.excluded, self.spec, self.context = static, excluded, spec, context
        self._last: tuple[tuple[str, ...], onnx.ModelProto] | None = None
        nodes = static.model.graph.node
        self.layers = tuple(node.name for node in nodes if node.op_type in WEIGHTED and node.name not in excluded)

    def build(self, floats: tuple[str, ...]) -> onnx.ModelProto:
        """The network with these layers in float as well; the last one made is kept."""
        if self._last is None or self._last[0] != floats:
            self._last = floats, self.static.build(FAMILY, (*self.excluded, *floats), self.spec)
        return self._last[1]

    def size_bytes(self, floats: tuple[str, ...]) -> float:
        """Size of its file."""
        return float(self.build(floats).ByteSize())

    def attempt(self, floats: tuple[str, ...]) -> tuple[float, float]:
        """Loss of the metric, and SQNR of the outputs in dB."""
        exact, targets, scores = self._parent
        outputs, _ = collect_outputs(self.build(floats), self.context.data.validation)
        found = per_sample_scores(self.context.task, outputs, targets)
        return float(scores.mean() - found.mean()), min(decibels(exact, outputs), 200.0)

    @cached_property
    def _parent(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Float outputs, targets and scores."""
        outputs, targets = collect_outputs(self.static.model, self.context.data.validation)
        return outputs, targets, per_sample_scores(self.context.task, outputs, targets)
