"""`onnx:PATH`: an ONNX file from any source, as the start of a chain in place of a torch network.

The file is checked, its operators are converted to a set that quantization supports, its nodes get names, and the result is
compared with the original file, which is the reference of all later stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from compress.backends import fuse_hard_swish, onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.check_file import check_onnx_file
from compress.backends.feeds import batch_samples, make_batches
from compress.backends.file_signature import read_signature
from compress.backends.fold_affine import fold_affine
from compress.backends.read_graph import all_nodes
from compress.backends.runner_protocol import Array
from compress.backends.transposed_weights import share_transposed
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.stage import Candidate, Context
from compress.models.text.token_range import check_tokens_of_file
from compress.tasks.output_agreement import compare_outputs
from compress.tasks.outputs import Outputs

OLDEST_OPSET, OPSET = 13, 17
"""First operator set with per-channel scales of quantization, and the one that older files are converted to."""
STANDARD_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))
"""Domains of the operators of ONNX Runtime."""
COMPARED = 2
"""Number of samples on which the prepared and the original file are compared."""
FILE = "model.onnx"


def given_candidate(path: Path, spec: NetworkSpec) -> tuple[Candidate, tuple[Fact, ...]]:
    """The file as a candidate, with its own signature and the data's classes and preprocessing.

    Args:
        path: ONNX file.
        spec: Of the data.

    Raises:
        ConversionError: The file cannot be used; the message has the reason.
    """
    check_given_file(path)
    check_tokens_of_file(path, spec)
    signature = read_signature(path)
    return Candidate(spec.model_copy(update={"signature": signature}), files={"onnxruntime": path}), ()


def check_given_file(path: Path) -> None:
    """Refuse a file that cannot be compressed.

    Raises:
        ConversionError: See `check_contents`, or ONNX Runtime crashes on it.
    """
    check_contents(path)
    check_onnx_file(path)


def check_contents(path: Path) -> None:
    """Refuse a file that cannot be compressed, by what it holds; it is not run.

    Raises:
        ConversionError: The file is damaged, has operators that ONNX Runtime lacks, gives something else than tensors, is
            quantized, or has no float weights.
    """
    model = onnx_files.load(path)
    for value in model.graph.output:
        if (kind := value.type.WhichOneof("value")) not in (None, "tensor_type"):
            msg = gettext(
                "{path}: output {name!r} is of type {kind}; only tensors are supported: export it with tensors",
                path=path,
                name=value.name,
                kind=kind.removesuffix("_type").replace("_", " "),
            )
            raise ConversionError(msg)
    nodes = list(all_nodes(model.graph))
    local = {function.domain for function in model.functions}
    if custom := sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in STANDARD_DOMAINS | local}):
        msg = gettext(
            "{path} has custom operators ({custom}), which ONNX Runtime lacks; export it without them",
            path=path,
            custom=", ".join(custom),
        )
        raise ConversionError(msg)
    if integers := _integer_evidence(model, nodes):
        msg = gettext("{path} is already quantized ({integers}); use the float file", path=path, integers=integers)
        raise ConversionError(msg)
    if not any(tensor.data_type in FLOAT_TYPES and len(tensor.dims) > 1 for tensor in _constants(model.graph)):
        msg = gettext("{path} has no float weights of two or more axes, so that there is nothing to compress", path=path)
        raise ConversionError(msg)


FLOAT_TYPES = frozenset((onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE))
INTEGER_OPERATORS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearConv",
     "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "QGemm"}
)  # fmt: skip


def _integer_evidence(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> str:
    """Why a file counts as quantized: its operators, or 8-bit integers as most of its weights; empty if it is not."""
    if operators := sorted({node.op_type for node in nodes} & INTEGER_OPERATORS):
        return ", ".join(operators)
    sizes: dict[bool, int] = {True: 0, False: 0}
    for tensor in _constants(model.graph):
        is_byte = tensor.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
        if is_byte or tensor.data_type in FLOAT_TYPES:
            sizes[is_byte] += tensor.ByteSize()
    if sizes[True] > sizes[False]:
        return gettext("most of its weights are 8-bit integers, which it converts to float")
    return ""


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Initializers and contents of `Constant` nodes, also in branches and loop bodies."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "value" and node.op_type == "Constant":
                yield attribute.t
            for inner in (attribute.g, *attribute.graphs):
                yield from _constants(inner)


def take_file(candidate: Candidate, context: Context) -> tuple[Candidate, tuple[Fact, ...]]:
    """Write the prepared file into the folder of the stage.

    Args:
        candidate: Result of `given_candidate`.
        context: Data for the comparison, and the folder.

    Returns:
        The candidate with the prepared file, and notes.

    Raises:
        ConversionError: The data do not fit, or the outputs of the prepared file differ.
    """
    path, target = candidate.file_for("onnxruntime"), context.folder / FILE
    prepared, notes = prepare_model(onnx_files.load(path), path.name)
    indexed = graphs.to_ir(prepared)
    fold_affine(indexed)
    share_transposed(indexed)
    model = graphs.to_proto(indexed)
    onnx_files.write_metadata(model, candidate.spec)
    onnx_files.save(model, target)
    if fewer := len(prepared.graph.node) - len(model.graph.node):
        notes = (*notes, Fact.of("models.operators_folded", path.name, count=fewer))
    samples = batch_samples(next(iter(context.data.validation.ordered(COMPARED))))
    _check_same(path, target, samples)
    if isinstance(context.task, Outputs):
        noise = gettext(", on random inputs") if context.data.source.startswith("random:") else ""
        notes = (*notes, Fact.of("models.not_measured_without_labels", path.name, random=noise))
    return replace(candidate, files={"onnxruntime": target}), notes


def prepare_model(model: onnx.ModelProto, name: str) -> tuple[onnx.ModelProto, tuple[Fact, ...]]:
    """The network with operators that quantization supports, weights as initializers, and a name for each node.

    Args:
        model: Model of the file.
        name: Name of the model in notes.

    Raises:
        ConversionError: Its operators cannot be converted.
    """
    notes: list[Fact] = []
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < max(OLDEST_OPSET, fuse_hard_swish.OPSET):
        try:
            model = onnx.version_converter.convert_version(model, OPSET)
        except Exception as error:  # the converter raises RuntimeError and its own errors
            if opset < OLDEST_OPSET:
                msg = gettext(
                    "{name} has ONNX opset {opset}, and onnx cannot convert it to {newest}: {error}; export it with 13 or "
                    "later",
                    name=name,
                    opset=opset,
                    newest=OPSET,
                    error=error,
                )
                raise ConversionError(msg) from error
        else:
            notes.append(Fact.of("models.opset_converted", name, before=opset, after=OPSET))
    if inner := _inner_weights(model.graph):
        notes.append(Fact.of("models.control_flow_in_float", ", ".join(sorted(inner)), count=sum(inner.values())))
    for value in (*model.graph.input, *model.graph.output):
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_value < 0:  # a free axis in files of Paddle's converter
                dim.dim_param = f"{value.name}_{index}"
    indexed = graphs.to_ir(model)
    fuse_hard_swish.fuse_hard_swish(indexed)
    _name_nodes(indexed)
    return graphs.to_proto(indexed), tuple(notes)


def _inner_weights(graph: onnx.GraphProto) -> dict[str, int]:
    """Operators with weights inside branches and loops, by the operator around them."""
    counts: dict[str, int] = {}
    for node in graph.node:
        inner = [each for attribute in node.attribute for each in (attribute.g, *attribute.graphs)]
        count = sum(inner_node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")
                    for body in inner for inner_node in all_nodes(body))  # fmt: skip
        if count:
            counts[node.op_type] = counts.get(node.op_type, 0) + count
    return counts


def _name_nodes(model: ir.Model) -> None:
    """Give each node a unique name; existing unique names are kept."""
    names = set[str]()
    for index, node in enumerate(model.graph):
        name = node.name or f"{node.op_type}_{index}"
        node.name = name if name not in names else f"{name}_{index}"
        names.add(node.name)


def _check_same(path: Path, prepared: Path, samples: list[dict[str, Array]]) -> None:
    """Compare the prepared file with the original file.

    Raises:
        ConversionError: Inputs do not fit, or outputs differ.
    """
    batches = make_batches(samples, graphs.to_ir(onnx_files.load(path)), 1)
    first, second = (onnx_session.create_session(file, threads=0) for file in (path, prepared))
    for feeds in batches:
        try:
            outputs = [outputs_in_a_row(session.run(None, feeds)) for session in (first, second)]
        except Exception as error:  # the only common base of the runtime's errors is Exception
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in feeds.items())
            msg = gettext(
                "{path} does not run on the data ({shapes}): {splitlines}; use inputs of its shapes",
                path=path,
                shapes=shapes,
                splitlines=str(error).splitlines()[0],
            )
            raise ConversionError(msg) from error
        agreement = compare_outputs(*outputs)
        if agreement.max_abs > 1e-4 + 1e-3 * agreement.scale:
            msg = gettext(
                "the outputs of {path} differ after the conversion of its operators; export it with ONNX opset 13 or later",
                path=path,
            )
            raise ConversionError(msg)


def outputs_in_a_row(outputs: list[Array]) -> np.ndarray:
    """All float outputs of one sample in a row, (1, M); integer ones where there are no others."""
    outputs = [output for output in outputs if np.asarray(output).dtype.kind == "f"] or outputs
    return np.concatenate([np.ravel(output).astype(np.float64) for output in outputs])[None]
