"""The operators behind a network's last layers with weights, and whether int8 there costs more than in all layers before.

Detectors end in decoding: products with anchors, sums with centres, boxes in pixels and scores in [0, 1] in one tensor. One
scale for such a tensor rounds the scores to 0 and the boxes to whole steps. What int8 costs is measured, not read from names:

    gain = max over columns of SQNR(tail in float) − SQNR(tail in int8)      in dB, every layer with weights in int8 in both

A column is one index of the shortest axis of an output besides the batch: a coordinate, a class. From 3 dB on, the rounding of
the tail adds as much noise to a column as all layers before, and the tail stays in float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.feeds import batch_samples, make_batches
from compress.backends.run_split import run_split
from compress.backends.runner_protocol import Array, Feeds
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.core.stage import Context
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.qdq.placement import WEIGHTED, placement_for
from compress.quantize.static_int8 import StaticInt8Plan

SAMPLES = 16
"""Validation samples that the SQNR is measured on."""
DOUBLED_DB = 10 * float(np.log10(2))
"""Gain from which the tail stays in float."""
DATA_DEPENDENT = frozenset({"NonMaxSuppression", "NonZero", "TopK", "Compress", "Unique", "Loop", "If", "Scan"})
"""Operators after which the place or the number of values depends on the values: what is compared is what they read."""
Probe = tuple[str, int]
"""A tensor that is compared: name of the node that reads it, "" for an output of the network; index among these."""


@dataclass(frozen=True)
class TailCost:
    """What int8 costs the tail of a network.

    Attributes:
        nodes: Names of the operators that would be int8.
        int8_db: SQNR of the column that gains most from a float tail, with the tail in int8.
        float_db: The same with the tail in float.
    """

    nodes: tuple[str, ...]
    int8_db: float
    float_db: float

    @property
    def stays_float(self) -> bool:
        """Whether the rounding of the tail adds as much noise as all layers before."""
        return self.float_db - self.int8_db >= DOUBLED_DB


def tail_nodes(model: ir.Model, runtime: str, *, symmetric: bool | None = None) -> tuple[str, ...]:
    """Names of the operators that would be int8 on a runtime, and from which no layer with weights is reached.

    Args:
        model: Float network.
        runtime: A key of `placement.PLACEMENTS`.
        symmetric: As for `placement_for`.
    """
    operators = placement_for(model, runtime, symmetric=symmetric).operators
    leads_to_weights: set[int] = set()
    tail = []
    for node in reversed(list(model.graph)):
        readers = [reader for output in node.outputs for reader in output.consumers()]
        if any(reader.op_type in WEIGHTED or id(reader) in leads_to_weights for reader in readers):
            leads_to_weights.add(id(node))
        elif node.op_type in operators and node.op_type not in WEIGHTED:
            tail.append(str(node.name))
    return tuple(reversed(tail))


def measure_tail(
    model: ir.Model, variants: tuple[ir.Model, ir.Model], nodes: tuple[str, ...], samples: Sequence[Feeds]
) -> TailCost | None:
    """Compare the network with its tail in int8 and in float; None where there is nothing to compare.

    Args:
        model: Float network.
        variants: The network with Q/DQ pairs everywhere, and without those of the tail.
        nodes: Names of the operators of the tail.
        samples: Inputs (1, …) by the names of the data.
    """
    probes = _probes(model)
    if not probes:
        return None
    exact = _values(model, probes, samples)
    each = [_values(variant, probes, samples) for variant in variants]
    costs = [
        TailCost(nodes, min(decibels(y, tail_int8), 200.0), min(decibels(y, tail_float), 200.0))
        for whole, *others in zip(exact, *each, strict=True)
        for y, tail_int8, tail_float in zip(*map(_columns, (whole, *others)), strict=True)
        if y.any()
    ]
    return max(costs, key=lambda cost: cost.float_db - cost.int8_db, default=None)


def leave_tail_float(
    plan: StaticInt8Plan, runtime: str, excluded: tuple[str, ...], spec: NetworkSpec, context: Context
) -> tuple[tuple[str, ...], tuple[Fact, ...]]:
    """Names of the operators of the tail where it stays in float, with a note that has the metric of both networks.

    Args:
        plan: What networks are built from.
        runtime: Of the file that is measured.
        excluded: Names of nodes that stay in float in any case.
        spec: Written into the files.
        context: Data and task; validation samples are run.
    """
    names = tail_nodes(plan.model, runtime, symmetric=plan.format.symmetric)
    nodes = tuple(name for name in names if name not in excluded)
    if not nodes:
        return (), ()
    validation, task = context.data.validation, context.task
    samples = batch_samples(next(iter(validation.ordered(SAMPLES))))
    tail_int8, tail_float = plan.with_qdq(runtime, excluded), plan.with_qdq(runtime, (*excluded, *nodes))
    cost = measure_tail(plan.model, (tail_int8, tail_float), nodes, samples)
    if cost is None or not cost.stays_float:
        return (), ()
    rounded, exact = (
        run_split(plan.finish(variant, runtime, spec), validation, task).metric for variant in (tail_int8, tail_float)
    )
    values = {"int8_db": cost.int8_db, "float_db": cost.float_db, "metric_int8": rounded, "metric_float": exact}
    label = task.metric_info.label
    return cost.nodes, (Fact.of("quantize.float_tail", label, operators=cost.nodes, samples=len(samples), **values),)


def _probes(model: ir.Model) -> list[Probe]:
    """Float tensors before anything that depends on data: outputs, and what such operators read."""
    floats = {str(value.name) for value in graphs.float_tensors(graphs.with_shapes(model))}
    after: set[str] = set()
    probes: list[Probe] = []
    for node in model.graph:
        inputs = graphs.input_names(node)
        depends = any(name in after for name in inputs)
        if node.op_type in DATA_DEPENDENT and not depends:
            probes += [(str(node.name), index) for index, name in enumerate(inputs) if name in floats]
        if depends or node.op_type in DATA_DEPENDENT:
            after |= {*graphs.output_names(node)}
    outputs = enumerate(str(value.name) for value in model.graph.outputs)
    return probes + [("", index) for index, name in outputs if name in floats and name not in after]


def _values(model: ir.Model, probes: Sequence[Probe], samples: Sequence[Feeds]) -> list[Array]:
    """The tensors of the probes, (S, …) each, operators run as written, one sample at a time."""
    nodes = {str(node.name): node for node in model.graph}
    names = [
        str(model.graph.outputs[index].name) if not reader else graphs.input_names(nodes[reader])[index]
        for reader, index in probes
    ]
    session = onnx_session.create_session(graphs.with_outputs(model, names, only=True), optimised=False, threads=0)
    parts = [session.run(names, feeds) for feeds in make_batches(samples, model, 1)]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _columns(values: Array) -> list[Array]:
    """Slices along the shortest axis besides the first; the whole tensor where it has fewer than three axes."""
    if values.ndim < 3:
        return [values]
    axis = 1 + int(np.argmin(values.shape[1:]))
    return list(np.moveaxis(values, axis, 0))
