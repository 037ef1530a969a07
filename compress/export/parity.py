"""Parity of torch, ONNX float32, ONNX int8 and engine on the same inputs, and the first node that diverges too far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.runner_protocol import Array
from compress.core.entries import Row
from compress.core.errors import ConversionError
from compress.core.language import gettext, joined
from compress.core.network_spec import LOGITS
from compress.tasks.output_agreement import OutputAgreement

if TYPE_CHECKING:
    from torch import nn

    from compress.backends.compare_on_split import CollectedOutputs
    from compress.data.batch import Split, Tensors
    from compress.tasks.base import Task

SAMPLES = 256
"""Number of samples on which outputs are compared."""
INTEGER = frozenset(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"))
"""Operators of a file with 8-bit integers."""
SEARCHED = 16
"""Number of samples for the search of the first node; memory contains all node outputs for them."""


@dataclass(frozen=True)
class FormOutputs:
    """Outputs of one form of the network on the first samples of a split.

    Attributes:
        form: `torch`, `ONNX float32`, …
        collected: Outputs and targets.
    """

    form: str
    collected: CollectedOutputs


def outputs_of_file(form: str, path: Path, split: Split, task: Task, *, optimised: bool = True) -> FormOutputs:
    """Outputs of an ONNX file; see `onnx_session.create_session` for `optimised`."""
    from compress.backends.compare_on_split import collect_outputs

    return FormOutputs(form, collect_outputs(path, split, task, limit=SAMPLES, optimized=optimised))


def form_name(path: Path) -> str:
    """What a file computes in, for the table: `ONNX int8`, `ONNX float16`, `ONNX float32`."""
    import onnx

    from compress.backends.read_graph import all_nodes, read_graph

    graph = read_graph(path).graph
    operators = {node.op_type for node in all_nodes(graph)}
    if operators & INTEGER:
        return "ONNX int8"
    if "MatMulNBits" in operators:
        return "ONNX int4"
    types = {tensor.data_type for tensor in graph.initializer}
    halves = {onnx.TensorProto.FLOAT16: "ONNX float16", onnx.TensorProto.BFLOAT16: "ONNX bfloat16"}
    return next((name for kind, name in halves.items() if kind in types), "ONNX float32")


def cannot_run_reason(path: Path) -> str | None:
    """Why ONNX Runtime on this machine cannot run a file for another runtime; None if no reason is known."""
    import onnx

    from compress.backends import onnx_files

    if any(tensor.data_type == onnx.TensorProto.BFLOAT16 for tensor in onnx_files.load(path).graph.initializer):
        return gettext("ONNX Runtime's CPU has no bfloat16 kernels; the file for onnxruntime emulates them")
    return None


def outputs_of_network(network: nn.Module, split: Split, task: Task) -> FormOutputs:
    """Outputs of a torch network in eval mode on the CPU."""
    from compress.backends.compare_on_split import collect_outputs

    return FormOutputs("torch", collect_outputs(network, split, task, limit=SAMPLES))


def search_inputs(split: Split, path: Path) -> tuple[Array, ...]:
    """Samples for the search of the first node, (N, …) for each input; N is the fixed batch size of the file, if it has one."""
    from compress.backends import onnx_files

    batch = onnx_files.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value
    inputs = next(iter(split.ordered(batch or SEARCHED))).inputs
    return tuple(values.numpy() for values in inputs.values())


class ParityTable:
    """Compares forms of one network in pairs, and collects the rows of the table `parity` of the record.

    Args:
        task: Task with metric and agreement.

    Attributes:
        rows: Rows of the table.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.rows: list[Row] = []

    def start(self, first: FormOutputs) -> FormOutputs:
        """Add a row for the form that the others are compared with."""
        self.rows.append(self._row(first.form, first, None, "—"))
        return first

    def add(self, reference: FormOutputs, other: FormOutputs, limit: str) -> OutputAgreement:
        """Compare a pair and add its row.

        Args:
            reference: Form with outputs a.
            other: Form with outputs b.
            limit: Description of the limit.
        """
        count = min(len(reference.collected), len(other.collected))
        parity = self.task.agreement(reference.collected.first(count).outputs, other.collected.first(count).outputs)
        self.rows.append(self._row(joined((reference.form, other.form), " → "), other, parity, limit))
        return parity

    def add_logits(self, pair: str, rows: Sequence[tuple[Array, Array]], limit: str) -> OutputAgreement:
        """Add a row for logits of texts.

        Args:
            pair: What is compared.
            rows: Logits of the reference and of the other form for each text, (T, V).
            limit: Description of the limit.
        """
        import torch

        reference, other = (torch.from_numpy(np.concatenate(part))[None] for part in zip(*rows, strict=True))
        parity = self.task.agreement({LOGITS: reference}, {LOGITS: other})
        self.rows.append({"pair": pair, "samples": len(rows), **_differences(parity), "limit": limit})
        return parity

    def add_outputs(self, pair: str, reference: Tensors, other: Tensors, limit: str) -> OutputAgreement:
        """Compare outputs of the same samples and add a row.

        Args:
            pair: What is compared.
            reference: Named outputs (N, …).
            other: Named outputs (N, …).
            limit: Description of the limit.
        """
        parity = self.task.agreement(reference, other)
        samples = len(next(iter(reference.values())))
        self.rows.append({"pair": pair, "samples": samples, **_differences(parity), "limit": limit})
        return parity

    def add_missing(self, pair: str, reason: str) -> None:
        """Add a row for a pair that was not compared."""
        self.rows.append({"pair": pair, "limit": gettext("not measured: {reason}", reason=reason)})

    def _row(self, pair: str, outputs: FormOutputs, parity: OutputAgreement | None, limit: str) -> dict[str, object]:
        collected, metric = outputs.collected, self.task.deciding
        scores = metric.scores(collected.outputs, collected.targets)
        return {
            "pair": pair,
            "samples": len(collected),
            **_differences(parity),
            self.task.metric: metric.value(scores.double().numpy()),
            "limit": limit,
        }


def _differences(parity: OutputAgreement | None) -> dict[str, object]:
    """Columns of a row; None where nothing is compared."""
    return {name: getattr(parity, name, None) for name in ("max_abs", "mean_abs", "cosine", "top1")}


def check(
    parity: OutputAgreement, *, relative: float, absolute: float, what: str, where: Callable[[float], str] | None = None
) -> None:
    """Check that max_abs ≤ absolute + relative · scale.

    Args:
        parity: The comparison.
        relative: Tolerance as a fraction of the largest output.
        absolute: Tolerance in units of the outputs.
        what: Description of the pair, for the message.
        where: Describes the first node that diverges, for a limit as a fraction of the largest output.

    Raises:
        ConversionError: The difference exceeds the limit; the message names the first node.
    """
    allowed = absolute + relative * parity.scale
    if parity.max_abs > allowed:
        divergence = f"; {where(allowed / (parity.scale or 1.0))}" if where else ""
        msg = gettext(
            "{what}: outputs differ by up to {max_abs:.3g}, allowed is {allowed:.3g} "
            "({absolute:g} + {relative:g} × {scale:.3g}){top_class_note}{divergence}; "
            "raise the tolerance only if this agreement suffices",
            what=what,
            max_abs=parity.max_abs,
            allowed=allowed,
            absolute=absolute,
            relative=relative,
            scale=parity.scale,
            top_class_note=_top_class_note(parity),
            divergence=divergence,
        )
        raise ConversionError(msg)


def check_relative_error(parity: OutputAgreement, *, most: float, what: str, where: Callable[[float], str]) -> None:
    """Check that √Σ (a − b)² ≤ most · √Σ a².

    Raises:
        ConversionError: The difference exceeds the limit; the message names the first node.
    """
    if parity.relative_error > most:
        msg = gettext(
            "{what}: the difference of the outputs is {error:.1%} of the outputs (root mean square), allowed is {most:.1%}; "
            "{divergence}; raise the tolerance only if this agreement suffices",
            what=what,
            error=parity.relative_error,
            most=most,
            divergence=where(most),
        )
        raise ConversionError(msg)


def _top_class_note(parity: OutputAgreement) -> str:
    if parity.top1 is None:
        return ""
    return gettext("; same top class on {share:.1%} of {count} samples", share=parity.top1, count=parity.samples)


def check_top1(parity: OutputAgreement, *, least: float, what: str, where: Callable[[float], str]) -> None:
    """Check the top-1 agreement.

    Raises:
        ConversionError: It is below `least`; the message names the first node with half of the error of the outputs.
    """
    if parity.top1 is not None and parity.top1 < least:
        divergence = where(0.5 * parity.max_abs / (parity.scale or 1.0))
        msg = gettext(
            "{what}{top_class_note}, at least {least:.1%} is required; {divergence}; "
            "keep that layer in float (keep_float), calibrate on more samples, or lower tolerance.top1",
            what=what,
            top_class_note=_top_class_note(parity),
            least=least,
            divergence=divergence,
        )
        raise ConversionError(msg)
