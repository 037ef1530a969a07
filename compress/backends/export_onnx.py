"""torch → ONNX: one checked file with a dynamic batch and everything in it that its user must know."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from compress.backends import onnx_cleanup
from compress.backends import onnx_graph as graphs
from compress.backends.fold_batchnorm import prepare_for_export
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.record import InputSpec

metadata = graphs.read_metadata
OPSET = 18
"""What the exporter writes natively; later sets are reached by a converter that adds nothing for classification networks."""


def export_onnx(module: nn.Module, spec: InputSpec, path: Path, *, opset: int = OPSET) -> tuple[Fact, ...]:
    """Write a network as one ONNX file, whole or not at all.

    Input `input`, float32 (batch, C, H, W), normalised; output `logits`, (batch, K). The batch is dynamic. Batch norm is
    folded, the graph is checked against the specification, class names and normalisation stand in the metadata.

    Args:
        module: The network; left as it was.
        spec: Its input and class names.
        path: Where the file appears.
        opset: ONNX operator set.

    Returns:
        Notes: what had to be done another way than usual, such as a batch fixed to 1.

    Raises:
        ConversionError: Weights are not finite, or no exporter takes the network; the first operator it stumbled over is named.
        StoreError: The folder is not writable, or full.
    """
    _check_finite(module)
    network = prepare_for_export(module)
    model, notes = _convert(network, spec, opset)
    onnx_cleanup.reducemean_to_gap(model)
    _name_nodes(model.graph)
    onnx_cleanup.strip(model)
    graphs.write_metadata(model, spec)
    graphs.check(model)
    graphs.save(model, path)
    return notes


def _check_finite(module: nn.Module) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            msg = f"{name!r} holds values that are not finite; retrain or reload the network before exporting it"
            raise ConversionError(msg)


def _convert(network: nn.Module, spec: InputSpec, opset: int) -> tuple[onnx.ModelProto, tuple[Fact, ...]]:
    """Try each exporter in turn; the error of the first one is reported."""
    first: Exception | None = None
    for exporter in (_with_dynamo, _with_tracing, _with_fixed_batch):
        try:
            with _quiet():
                model = exporter(network, spec, opset)
        except Exception as error:  # exporters let through whatever a network's own code raises
            first = first or error
            continue
        if first is None:
            return model, ()
        if exporter is _with_tracing:
            return model, (Fact.of("backends.exported_by_tracing", reason=_reason(first)),)
        return model, (Fact.of("backends.batch_fixed", reason=_reason(first)),)
    msg = f"the network cannot be exported to ONNX: {_reason(first)}; change that operation or the input size ({spec.shape})"
    raise ConversionError(msg) from first


def _with_dynamo(network: nn.Module, spec: InputSpec, opset: int, *, dynamic: bool = True) -> onnx.ModelProto:
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        network,
        (torch.zeros((2 if dynamic else 1), *spec.shape),),
        dynamo=True,
        opset_version=opset,
        input_names=[graphs.INPUT],
        output_names=[graphs.OUTPUT],
        dynamic_shapes=({0: batch},) if dynamic else None,
        verbose=False,
    )
    if program is None:
        msg = "the exporter gave nothing back"
        raise ConversionError(msg)
    model = program.model_proto
    if dynamic and model.graph.input[0].type.tensor_type.shape.dim[0].WhichOneof("value") == "dim_value":
        msg = "the exporter specialised the batch"
        raise ConversionError(msg)
    return model


def _with_fixed_batch(network: nn.Module, spec: InputSpec, opset: int) -> onnx.ModelProto:
    return _with_dynamo(network, spec, opset, dynamic=False)


def _with_tracing(network: nn.Module, spec: InputSpec, opset: int) -> onnx.ModelProto:
    """The older exporter follows one run with a batch of 2; whether the result holds for other batches is tried out."""
    buffer = io.BytesIO()
    torch.onnx.export(
        network,
        (torch.zeros(2, *spec.shape),),
        buffer,  # type: ignore[arg-type]  # the older exporter does take a buffer; its signature does not say so
        dynamo=False,
        opset_version=opset,
        input_names=[graphs.INPUT],
        output_names=[graphs.OUTPUT],
        dynamic_axes={graphs.INPUT: {0: "batch"}, graphs.OUTPUT: {0: "batch"}},
    )
    model = onnx.load_from_string(buffer.getvalue())
    runner = graphs.create_session(model)
    for size in (1, 3):
        inputs = torch.randn(size, *spec.shape, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            wanted = network(inputs).numpy()
        if not np.allclose(graphs.run(runner, inputs.numpy()), wanted, rtol=1e-3, atol=1e-3):
            msg = f"the traced graph is wrong for a batch of {size}"
            raise ConversionError(msg)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' progress, deprecations of torch's own internals and tracer warnings off the user's screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning, UserWarning):
                warnings.filterwarnings(
                    "ignore", category=category, module=r"(torch|onnxscript|onnx_ir|copyreg|torchvision)(\..*)?"
                )
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: BaseException | None) -> str:
    """The innermost cause in one line, the operator first when the exporter names one."""
    texts = []
    while error is not None:
        texts.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    operator = next(
        (found[0] for text in texts if (found := re.search(r"\b(?:aten|torchvision|prims)[.:]+[\w.]+", text))), None
    )
    innermost = next((line.strip() for line in texts[-1].splitlines() if line.strip()), "no reason given")
    return f"operator {operator}: {innermost}" if operator else innermost


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Call a node with weights by its layer (`features.3.conv.1`), any other by module and operator (`features.3/Add`).

    Reports, per-layer times and `keep_float` then speak the network's names.
    """
    weights = {tensor.name for tensor in graph.initializer if len(tensor.dims) >= 2}
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        layer = next((name.rsplit(".", 1)[0] for name in node.input if name in weights and "." in name), None)
        if not layer or layer in taken:
            module = onnx_cleanup.module_path(node)
            layer = f"{module}/{node.op_type}" if module else f"{node.op_type}_{number}"
        node.name = layer if layer not in taken else f"{layer}_{number}"
        taken.add(node.name)
