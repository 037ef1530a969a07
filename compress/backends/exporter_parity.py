"""Exporter parity: check that an ONNX export computes the same outputs as its torch network.

The network and the export run on the same samples, as one batch and one by one: the batch detects values that the exporter
froze for one batch size, the single samples detect outputs that depend on other samples.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from compress.backends import first_divergence, onnx_session
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.stage import OnnxOptions
from compress.tasks.output_agreement import OutputAgreement, compare_outputs

if TYPE_CHECKING:
    from compress.data.batch import Split

BATCH, ALONE = 16, 2
"""Number of samples that run as one batch, and of those that also run alone."""


class ParityError(ConversionError):
    """The outputs of an export differ from those of its network."""


@dataclass(frozen=True)
class ReferenceOutputs:
    """Outputs of a torch network, with which those of its export are compared.

    Attributes:
        network: The network.
        inputs: Inputs in the order of the signature, (N, …) each.
        batch: Outputs for all samples as one batch, (N, …) each; None if the network supports only one sample at a time.
        alone: Outputs for the first samples one by one, (1, …) each.
    """

    network: nn.Module
    inputs: tuple[np.ndarray, ...]
    batch: tuple[np.ndarray, ...] | None
    alone: tuple[tuple[np.ndarray, ...], ...]


def probe_inputs(spec: NetworkSpec, count: int = 3) -> tuple[Tensor, ...]:
    """Noise for an export without samples, (count, …) each."""
    return tuple(spec.signature.example(count, seed=count).values())


def parity_inputs(split: Split) -> tuple[Tensor, ...]:
    """The first samples of a split, (N, …) each, in the order of the signature."""
    return tuple(values[:BATCH] for values in next(iter(split.ordered(BATCH))).inputs.values())


def reference_outputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> ReferenceOutputs:
    """Run a copy of a network in eval mode on the CPU.

    Args:
        module: The network; not changed.
        inputs: Inputs in the order of the signature, (N, …) each.

    Raises:
        ConversionError: The network does not run, is random, or does not return tensors.
    """
    network = copy.deepcopy(module).cpu().eval()
    count = min(ALONE, len(inputs[0]))
    samples = [tuple(values[index : index + 1] for values in inputs) for index in range(count)]
    alone = tuple(_run(network, sample) for sample in samples)
    again = zip(alone[0], _run(network, samples[0]), strict=True)
    if not all(np.allclose(first, other, rtol=1e-3, atol=1e-4, equal_nan=True) for first, other in again):
        msg = gettext("the network has different outputs for the same inputs: remove randomness from its eval mode")
        raise ConversionError(msg)
    try:
        batch = _run(network, inputs)
    except ConversionError:  # single samples run, so its batch is fixed to 1
        batch = None
    return ReferenceOutputs(network, tuple(values.numpy() for values in inputs), batch, alone)


def _run(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[np.ndarray, ...]:
    try:
        with torch.no_grad():
            outputs = network(*(values.clone() for values in inputs))
    except Exception as error:  # the code of the network may raise anything
        shapes = ", ".join(str(tuple(values.shape)) for values in inputs)
        msg = gettext(
            "the network does not run on inputs of shape {shapes}: {kind}: {error}",
            shapes=shapes,
            kind=type(error).__name__,
            error=error,
        )
        raise ConversionError(msg) from error
    tensors = tuple(outputs.values()) if isinstance(outputs, Mapping) else outputs
    tensors = tensors if isinstance(tensors, (tuple, list)) else (tensors,)
    if not tensors or not all(isinstance(values, Tensor) for values in tensors):
        msg = gettext(
            "the network returns a {kind} in eval mode; export supports a tensor or a tuple of tensors",
            kind=type(outputs).__name__,
        )
        raise ConversionError(msg)
    return tuple((values.float() if values.is_floating_point() else values).numpy() for values in tensors)


def check_exporter_parity(model: onnx.ModelProto, reference: ReferenceOutputs, options: OnnxOptions) -> None:
    """Compare an export with its network.

    Args:
        model: The export.
        reference: Outputs of the network.
        options: Tolerances.

    Raises:
        ParityError: The outputs differ by more than the tolerance; the message names the first node.
        ConversionError: ONNX Runtime does not run the export.
    """
    session = onnx_session.create_session(model)
    inputs = reference.inputs
    fixed = session.get_inputs()[0].shape[:1] == [1]
    pairs = [(outputs, tuple(values[index : index + 1] for values in inputs)) for index, outputs in enumerate(reference.alone)]
    if not fixed and reference.batch is not None:
        pairs.append((reference.batch, inputs))
    for expected, samples in pairs:
        outputs = session.run(None, onnx_session.feeds_of(session, samples))
        if len(outputs) < len(expected):
            msg = gettext(
                "the exported network has {count} outputs, the torch network {expected_count}",
                count=len(outputs),
                expected_count=len(expected),
            )
            raise ParityError(msg)
        for expected_values, values in zip(expected, outputs, strict=False):
            agreement = _compare(expected_values, values)
            allowed = options.absolute + options.relative * agreement.scale
            if not agreement.max_abs <= allowed:
                raise _parity_error(agreement, allowed, model, reference, samples)


def _compare(expected: np.ndarray, outputs: np.ndarray) -> OutputAgreement:
    if expected.shape != outputs.shape:
        msg = gettext(
            "the exported network has outputs of shape {shape}, the torch network {expected_shape}",
            shape=outputs.shape,
            expected_shape=expected.shape,
        )
        raise ParityError(msg)
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (expected, outputs))
    same = ~np.isfinite(a) & ((a == b) | (np.isnan(a) & np.isnan(b)))
    return compare_outputs(np.where(same, 0.0, a), np.where(same, 0.0, b))


def _parity_error(
    agreement: OutputAgreement,
    allowed: float,
    model: onnx.ModelProto,
    reference: ReferenceOutputs,
    samples: tuple[np.ndarray, ...],
) -> ParityError:
    divergence = first_divergence.describe_divergence(
        first_divergence.torch_outputs(reference.network, samples),
        first_divergence.float_outputs(model, samples),
        allowed / (agreement.scale or 1.0),
    )
    batch = gettext("one sample alone") if len(samples[0]) == 1 else gettext("a batch of {count}", count=len(samples[0]))
    return ParityError(
        gettext(
            "the outputs of the ONNX export differ from those of the torch network by up to {max_abs:.3g} for {batch}, "
            "allowed is {allowed:.3g}; {divergence}",
            max_abs=agreement.max_abs,
            batch=batch,
            allowed=allowed,
            divergence=divergence,
        )
    )


READS = frozenset(
    ("__bool__", "__int__", "__float__", "__index__", "__array__", "item", "tolist", "numpy", "equal", "allclose")
)
"""Functions of torch that convert the content of a tensor to a Python value."""
SIZES = frozenset(("nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "bincount"))
"""Functions of torch whose output size depends on the content of a tensor."""
DATA_DEPENDENT = frozenset(("GuardOnDataDependentSymNode", "DataDependentOutputException", "DynamicOutputShapeException"))
"""Errors of torch.export for networks that depend on such a value."""


class _ValueReads(TorchFunctionMode):
    """Collects lines of Python code that use a value or a size from the content of a computed tensor, such as branches."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.constants = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
        self.lines: dict[str, None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if args and id(args[0]) not in self.constants and _depends_on_content(getattr(func, "__name__", ""), args):
            caller = sys._getframe(1)  # the line that reads
            while caller.f_back is not None and "/torch/" in caller.f_code.co_filename:
                caller = caller.f_back
            self.lines[f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}"] = None
        return func(*args, **(kwargs or {}))


def _depends_on_content(function: str, args: tuple[object, ...]) -> bool:
    masks = args[1] if function == "__getitem__" and isinstance(args[1], tuple) else args[1:]
    by_mask = function == "__getitem__" and any(isinstance(mask, Tensor) and mask.dtype == torch.bool for mask in masks)
    return function in READS or function in SIZES or by_mask or (function == "where" and len(args) == 1)


def frozen_branches(reference: ReferenceOutputs, error: BaseException | None) -> tuple[Fact, ...]:
    """A warning if tracing may freeze a branch, because the network depends on values or sizes from its input's content.

    Args:
        reference: The network and its inputs.
        error: Error of torch.export.
    """
    with torch.no_grad(), _ValueReads(reference.network) as reads:
        reference.network(*(torch.from_numpy(values[:1]) for values in reference.inputs))
    lines = tuple(reads.lines)
    while error is not None and not lines:
        lines = (gettext("its forward pass"),) if type(error).__name__ in DATA_DEPENDENT else ()
        error = error.__cause__ or error.__context__
    return (Fact.of("backends.branch_frozen", lines=lines),) if lines else ()
