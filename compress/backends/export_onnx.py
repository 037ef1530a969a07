"""Export a torch network to one checked ONNX file with a dynamic batch and metadata."""

from __future__ import annotations

import copy
import inspect
import io
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir
import torch
from torch import nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.decoder.module_layout import module_layout
from compress.backends.decoder.response_layout import response_layout
from compress.backends.exporter_messages import innermost_reason, quiet_exporters
from compress.backends.exporter_parity import (
    ParityError,
    ReferenceOutputs,
    check_exporter_parity,
    frozen_branches,
    parity_inputs,
    probe_inputs,
    reference_outputs,
)
from compress.backends.fold_batchnorm import prepare_for_export
from compress.backends.node_names import name_nodes
from compress.backends.onnx_cleanup import strip
from compress.backends.parity_records import record_parity
from compress.backends.proposal_operators import TRANSLATIONS
from compress.backends.rewrite_spatial_mean import reducemean_to_gap
from compress.core.decoder_layout import METADATA
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, Signature
from compress.core.stage import OnnxOptions
from compress.data.batch import Split

OPSET = 18
"""Opset that the exporter writes natively; later opsets need a converter and bring nothing for classification networks."""
TRACING_OPSET = 20
"""Latest opset of the older exporter."""
DEFAULT_OPTIONS = OnnxOptions()


def export_onnx(
    module: nn.Module,
    spec: NetworkSpec,
    path: Path,
    *,
    split: Split | None = None,
    options: OnnxOptions = DEFAULT_OPTIONS,
    cache: Path | None = None,
) -> tuple[Fact, ...]:
    """Export a network to an ONNX file, which is written atomically.

    Inputs and outputs have the names of the signature, and its free axes are dynamic. Batch norms are folded, the graph is
    checked against the ONNX specification, and its outputs are compared with those of the network. The metadata contain
    signature, class names and normalisation.

    Args:
        module: The network; not changed.
        spec: Signature, class names and preprocessing.
        path: Path of the new file.
        split: Samples on which outputs are compared; None compares on noise.
        options: Opset and tolerance.
        cache: Folder to record that the file agrees with the network, so that later stages need not compare again.

    Returns:
        Notes on deviations, such as a batch fixed to 1.

    Raises:
        ConversionError: Weights are not finite, no exporter supports the network, or the outputs of the file differ; the
            message names the first operator or node.
        StoreError: The folder is not writable, or the disk is full.
    """
    _check_finite(module)
    inputs = probe_inputs(spec) if split is None else parity_inputs(split)
    reference = reference_outputs(module, inputs)
    if len(reference.alone[0]) != len(spec.signature.outputs):
        names = ", ".join(spec.output_names)
        msg = gettext(
            "the network has {count} outputs in eval mode, but its signature has {names}",
            count=len(reference.alone[0]),
            names=names,
        )
        raise ConversionError(msg)
    model, notes = _convert(reference, spec, options)
    most = max((size.most for size in spec.signature.sizes.values()), default=1)
    if (layout := module_layout(module) or response_layout(module, most)) is not None:
        model.metadata_props.add(key=METADATA, value=layout.model_dump_json())
    onnx_files.save(model, path)
    if cache is not None:
        record_parity(path, module, inputs, options, cache)
    return notes


def _check_finite(module: nn.Module) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            msg = gettext(
                "{name!r} has values that are not finite; retrain or reload the network before exporting it", name=name
            )
            raise ConversionError(msg)


Exporter = Callable[[nn.Module, NetworkSpec, int], ir.Model]


def _convert(reference: ReferenceOutputs, spec: NetworkSpec, options: OnnxOptions) -> tuple[onnx.ModelProto, tuple[Fact, ...]]:
    """Try each exporter in turn; if none works, the error of the first is reported."""
    exporters: tuple[tuple[Exporter, str], ...] = (
        (_with_dynamo, ""),
        (_with_tracing, "backends.exported_by_tracing"),
        (_with_fixed_batch, "backends.batch_fixed"),
    )
    first: Exception | None = None
    for exporter, code in exporters:
        try:
            model, notes = _convert_with(exporter, reference, spec, options)
        except Exception as error:  # the code of the network may raise anything
            first = first or error
            continue
        if first is None:
            return model, notes
        frozen = frozen_branches(reference, first) if exporter is _with_tracing else ()
        return model, (*notes, Fact.of(code, reason=innermost_reason(first)), *frozen)
    if isinstance(first, ParityError):
        raise first
    msg = gettext(
        "the network cannot be exported to ONNX: {innermost_reason}; change that operation or its input sizes",
        innermost_reason=innermost_reason(first),
    )
    raise ConversionError(msg) from first


def _convert_with(
    exporter: Exporter, reference: ReferenceOutputs, spec: NetworkSpec, options: OnnxOptions
) -> tuple[onnx.ModelProto, tuple[Fact, ...]]:
    """Export, finish, check and compare; if outputs differ, once more without the preparation of the torch network."""
    network = prepare_for_export(reference.network)
    opset = options.opset or OPSET
    notes: tuple[Fact, ...] = ()
    with quiet_exporters():
        model = exporter(network, spec, opset)
        if newer := _newer_operators(model, opset):
            if options.opset is not None:
                msg = gettext(
                    "{newer} needs ONNX opset {least} or later, but export.opset is {opset}",
                    newer=", ".join(newer),
                    least=max(newer.values()),
                    opset=opset,
                )
                raise ConversionError(msg)
            opset = max(newer.values())
            notes = (Fact.of("backends.newer_opset", ", ".join(newer), opset=opset, default=OPSET),)
            model = exporter(network, spec, opset)
        try:
            proto = _finish(model, spec)
            check_exporter_parity(proto, reference, options)
        except ParityError:
            proto = _finish(exporter(copy.deepcopy(reference.network), spec, opset), spec)
            check_exporter_parity(proto, reference, options)
    return proto, notes


def _newer_operators(model: ir.Model, opset: int) -> dict[str, int]:
    """Operators of the network that are newer than the opset, each with the opset that introduced it."""
    since: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            since[schema.name] = min(schema.since_version, since.get(schema.name, schema.since_version))
    operators = {node.op_type for node in model.graph.all_nodes() if node.domain == ""}
    return {name: since[name] for name in sorted(operators) if since.get(name, 0) > opset}


def _finish(model: ir.Model, spec: NetworkSpec) -> onnx.ModelProto:
    reducemean_to_gap(model)
    name_nodes(model)
    strip(model)
    proto = graphs.to_proto(model)
    onnx_files.write_metadata(proto, spec)
    onnx_files.check(proto)
    return proto


@torch.no_grad()  # with gradients, attention with learned biases of positions takes another kernel, which cannot be exported
def _with_dynamo(network: nn.Module, spec: NetworkSpec, opset: int, *, dynamic: bool = True) -> ir.Model:
    signature, free = spec.signature, spec.signature.dynamic_axes()
    program = torch.onnx.export(
        network,
        tuple(signature.example(2 if dynamic else 1, seed=None).values()),
        dynamo=True,
        opset_version=opset,
        input_names=[tensor.name for tensor in signature.inputs],
        output_names=list(spec.output_names),
        dynamic_shapes=dynamic_shapes(network, signature) if dynamic else None,
        custom_translation_table=dict(TRANSLATIONS),
        verbose=False,
    )
    if program is None:
        msg = gettext("the exporter returned no program")
        raise ConversionError(msg)
    model: ir.Model = program.model
    _rename_namesakes(model)
    for value in model.graph.inputs if dynamic else ():
        for index, axis in free.get(str(value.name), {}).items():
            if value.shape is not None and isinstance(value.shape[index], int):
                msg = gettext("the exporter fixed the size of axis {axis} of input {name}", axis=axis, name=value.name)
                raise ConversionError(msg)
    return model


def _rename_namesakes(model: ir.Model) -> None:
    """Rename values that have the name of an output, such as that of `aten.embedding`, which the exporter calls `embedding`."""
    outputs = list(model.graph.outputs)
    names = {value.name for value in outputs}
    for node in model.graph:
        for value in node.outputs:
            if value.name in names and not any(value is output for output in outputs):
                value.name = f"{value.name}_inside"


InputAxes = dict[int, torch.export.Dim]


def dynamic_shapes(network: nn.Module, signature: Signature) -> tuple[InputAxes | tuple[InputAxes, ...], ...]:
    """Free axes of each input by index, in the form of `torch.export`; axes of the same name share one `Dim`.

    An axis has the largest size of the signature as its bound: a table of positions is defined up to there.

    Args:
        network: The network; its `*args` are a tuple in the result.
        signature: Signature of the network.
    """
    largest = {axis: sizes.most for axis, sizes in signature.sizes.items() if axis != BATCH and sizes.most > sizes.least}
    axes = {axis: torch.export.Dim(axis, max=largest.get(axis)) for axis in signature.free_axes}
    free = signature.dynamic_axes()
    shapes = tuple({index: axes[axis] for index, axis in free.get(tensor.name, {}).items()} for tensor in signature.inputs)
    kinds = [parameter.kind for parameter in inspect.signature(network.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return shapes
    position = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return (*shapes[:position], shapes[position:])


def _with_fixed_batch(network: nn.Module, spec: NetworkSpec, opset: int) -> ir.Model:
    return _with_dynamo(network, spec, opset, dynamic=False)


def _with_tracing(network: nn.Module, spec: NetworkSpec, opset: int) -> ir.Model:
    """Export with the older exporter, which traces a run with a batch of 2; the comparison uses other batches."""
    buffer = io.BytesIO()
    torch.onnx.export(
        network,
        tuple(spec.signature.example(2, seed=None).values()),
        buffer,  # type: ignore[arg-type]  # the older exporter supports a buffer, unlike its annotation
        dynamo=False,
        opset_version=min(opset, TRACING_OPSET),
        input_names=[tensor.name for tensor in spec.signature.inputs],
        output_names=list(spec.output_names),
        dynamic_axes=spec.signature.dynamic_axes(),
    )
    model: ir.Model = ir.from_proto(onnx.load_from_string(buffer.getvalue()))
    return model
