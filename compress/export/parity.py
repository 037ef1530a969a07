"""Parity: torch, ONNX float32, ONNX int8 and engine on the same inputs; where they part, if they part too far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends.runner_protocol import Array
from compress.core.entries import Row
from compress.core.errors import ConversionError
from compress.tasks.output_agreement import OutputAgreement

if TYPE_CHECKING:
    from torch import nn

    from compress.backends.compare_on_split import CollectedOutputs
    from compress.data.batch import Split
    from compress.tasks.base import Task

SAMPLES = 256
"""Samples that outputs are compared on."""
SEARCHED = 16
"""Samples on which the first node is looked for, whose every output is kept."""


@dataclass(frozen=True)
class FormOutputs:
    """Outputs of one form of the network on the first samples of a split.

    Attributes:
        form: `torch`, `ONNX float32`, …
        collected: Its outputs, and the targets.
    """

    form: str
    collected: CollectedOutputs


def outputs_of_file(form: str, path: Path, split: Split, task: Task, *, optimised: bool = True) -> FormOutputs:
    """Answers of an ONNX file; `optimised` as for `onnx_session.create_session`."""
    from compress.backends.compare_on_split import collect_outputs

    return FormOutputs(form, collect_outputs(path, split, task, limit=SAMPLES, optimized=optimised))


def cannot_run_reason(path: Path) -> str | None:
    """Why ONNX Runtime here does not run a file that another runtime does; None when nothing speaks against it."""
    import onnx

    from compress.backends import onnx_files

    if any(tensor.data_type == onnx.TensorProto.BFLOAT16 for tensor in onnx_files.load(path).graph.initializer):
        return "ONNX Runtime's CPU has no bfloat16 kernels; the file for onnxruntime emulates them"
    return None


def outputs_of_network(network: nn.Module, split: Split, task: Task) -> FormOutputs:
    """Answers of a torch network in eval mode on the CPU."""
    from compress.backends.compare_on_split import collect_outputs

    return FormOutputs("torch", collect_outputs(network, split, task, limit=SAMPLES))


def search_inputs(split: Split, path: Path) -> tuple[Array, ...]:
    """The samples on which the first node of a file is looked for, (N, …) for each input; N is the file's batch where fixed."""
    from compress.backends import onnx_files

    batch = onnx_files.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value
    inputs = next(iter(split.ordered(batch or SEARCHED))).inputs
    return tuple(values.numpy() for values in inputs.values())


class ParityTable:
    """Compares forms of one network pair by pair, and keeps the rows of the record's table `parity`.

    Args:
        task: Gives the metric.

    Attributes:
        rows: So far.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.rows: list[Row] = []

    def start(self, first: FormOutputs) -> FormOutputs:
        """A row for the form that the others are compared with."""
        self.rows.append(self._row(first.form, first, None, "—"))
        return first

    def add(self, reference: FormOutputs, other: FormOutputs, limit: str) -> OutputAgreement:
        """A row for a pair.

        Args:
            reference: a.
            other: b.
            limit: What it is held against, in words.
        """
        count = min(len(reference.collected), len(other.collected))
        parity = self.task.agreement(reference.collected.first(count).outputs, other.collected.first(count).outputs)
        self.rows.append(self._row(f"{reference.form} → {other.form}", other, parity, limit))
        return parity

    def absent(self, pair: str, reason: str) -> None:
        """A row for a pair that nobody compared."""
        self.rows.append({"pair": pair, "limit": f"not measured: {reason}"})

    def _row(self, pair: str, answers: FormOutputs, parity: OutputAgreement | None, limit: str) -> dict[str, object]:
        collected, metric = answers.collected, self.task.deciding
        scores = metric.scores(collected.outputs, collected.targets)
        return {
            "pair": pair,
            "samples": len(collected),
            "max_abs": parity.max_abs if parity else None,
            "mean_abs": parity.mean_abs if parity else None,
            "cosine": parity.cosine if parity else None,
            "top1": parity.top1 if parity else None,
            self.task.metric: metric.value(scores.double().numpy()),
            "limit": limit,
        }


def check(
    parity: OutputAgreement, *, relative: float, absolute: float, what: str, where: Callable[[float], str] | None = None
) -> None:
    """Hold a comparison against `max_abs ≤ absolute + relative · scale`.

    Args:
        parity: The comparison.
        relative: Of the largest output.
        absolute: In units of the outputs.
        what: Names the two, for the message.
        where: Says where they part, given the limit as a fraction of the largest output; asked only when they do.

    Raises:
        ConversionError: It is further off; names the first node.
    """
    allowed = absolute + relative * parity.scale
    if parity.max_abs > allowed:
        place = f"; {where(allowed / (parity.scale or 1.0))}" if where else ""
        msg = (
            f"{what}: outputs differ by up to {parity.max_abs:.3g}, allowed is {allowed:.3g} "
            f"({absolute:g} + {relative:g} × {parity.scale:.3g}){_same(parity)}{place}; "
            f"raise the tolerance only if that is good enough"
        )
        raise ConversionError(msg)


def _same(parity: OutputAgreement) -> str:
    return "" if parity.top1 is None else f"; same top class on {parity.top1:.1%} of {parity.samples} samples"


def check_top1(parity: OutputAgreement, *, least: float, what: str, where: Callable[[float], str]) -> None:
    """Hold a comparison against a least top-1 agreement.

    Raises:
        ConversionError: Fewer samples keep their top class; names the first node that is off by half of what the outputs are.
    """
    if parity.top1 is not None and parity.top1 < least:
        place = where(0.5 * parity.max_abs / (parity.scale or 1.0))
        msg = (
            f"{what}{_same(parity)}, allowed is {least:.1%} or more; {place}"
            "; keep that layer in float (keep_float), calibrate on more samples, or lower tolerance.top1"
        )
        raise ConversionError(msg)
