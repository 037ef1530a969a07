"""ONNX networks: reading and writing files, the indexed model that graph passes work on, metadata, checks, sessions.

Passes take an `onnx_ir.Model`, in which a value knows its producer, its consumers, its shape and its constant. The functions
under "Indexed model" add what passes share. ONNX Runtime's quantizer and `onnx.checker` take a `ModelProto`: `to_proto`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx_ir.passes.common import ShapeInferencePass

import compress
from compress.backends.read_graph import read_graph
from compress.core.atomic_files import atomic_write
from compress.core.errors import ConversionError
from compress.core.record import InputSpec

INPUT = "input"
OUTPUT = "logits"
MAX_PROTOBUF_BYTES = 2**31 - 1
"""Size limit of a protocol buffer. A larger network has its weights in a second file, `<name>.data`."""
EXTERNAL_BYTES = 1024
"""Tensors of at least this size go into the second file."""


# Indexed model


def to_ir(model: onnx.ModelProto) -> ir.Model:
    """The network indexed: producers, consumers, shapes and constants by value. Float `Constant` nodes become initializers.

    A weight that an exporter wrote into a `Constant` node is thus a weight like any other. Nodes in an order that they cannot
    run in, as some converters write them, are sorted.
    """
    indexed: ir.Model = ir.from_proto(model)
    graph = indexed.graph
    if not _is_sorted(graph):
        graph.sort()
    for node in [node for node in graph if node.op_type == "Constant" and node.domain == ""]:
        tensor = ir.convenience.get_const_tensor(node.outputs[0])
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or not tensor.shape or node.outputs[0].is_graph_output():
            continue
        name = str(node.outputs[0].name)
        node.outputs[0].name = f"{name}_constant"
        node.outputs[0].replace_all_uses_with(add_initializer(indexed, name, tensor.numpy()))
        graph.remove(node, safe=True)
    return indexed


def _is_sorted(graph: ir.Graph) -> bool:
    computed = set[ir.Value | None]()
    for node in graph:
        computed.update(node.outputs)
        if any(value is not None and value.producer() is not None and value not in computed for value in node.inputs):
            return False
    return True


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The protocol buffer of an indexed network; nodes, names, order and contents are those of the one it was made from."""
    proto = ir.to_proto(model)
    constants = set(model.graph.initializers)  # onnx_ir declares types of initializers, which their tensors hold already
    declared = [value for value in proto.graph.value_info if value.name not in constants]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(declared)
    del proto.metadata_props[:]  # onnx_ir sorts them
    onnx.helper.set_model_props(proto, dict(model.metadata_props))
    return proto


def find_value(model: ir.Model, name: str) -> ir.Value:
    """The tensor of that name.

    Raises:
        KeyError: There is none.
    """
    return ir.convenience.create_value_mapping(model.graph)[name]


def input_names(node: ir.Node) -> tuple[str, ...]:
    """Names of the tensors that a node reads; an optional input that is left out is empty."""
    return tuple("" if value is None else str(value.name) for value in node.inputs)


def output_names(node: ir.Node) -> tuple[str, ...]:
    """Names of the tensors that a node writes."""
    return tuple(str(value.name) for value in node.outputs)


def input_name(model: ir.Model) -> str:
    """Name of the network's first input."""
    return str(model.graph.inputs[0].name)


def attributes(node: ir.Node) -> dict[str, Any]:
    """Values of a node's attributes by name: numbers, tuples, text, tensors."""
    return {attribute.name: attribute.value for attribute in node.attributes.values()}


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Contents of an initializer or of a `Constant` node, read-only; None for a computed tensor or no tensor."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def dims(value: ir.Value | None) -> list[int] | None:
    """Shape of a tensor, 0 where a dimension is free; None where the shape is not known."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else 0 for size in value.shape]


def with_shapes(model: ir.Model) -> ir.Model:
    """A copy in which every tensor has its inferred type and shape."""
    inferred = ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(model.clone()).model
    constants = inferred.graph.initializers
    for name in model.graph.initializers:  # the pass changes their order
        constants[name] = constants.pop(name)
    return inferred


def float_tensors(model: ir.Model) -> list[ir.Value]:
    """Float32 inputs and results of a network whose types are inferred (`with_shapes`); no constants."""
    values = (*model.graph.inputs, *(value for node in model.graph for value in node.outputs))
    return [value for value in values if value.dtype == ir.DataType.FLOAT and not value.is_initializer()]


def with_initializers(model: ir.Model, arrays: Mapping[str, np.ndarray]) -> ir.Model:
    """A copy with some weights replaced, as float32; all other tensors are shared with the original."""
    copy = model.clone()
    for name, array in arrays.items():
        if (value := copy.graph.initializers.get(name)) is not None:
            value.const_value = ir.tensor(np.ascontiguousarray(array, np.float32), name=name)
    return copy


def add_initializer(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    """Add a constant to the network, in place."""
    tensor = ir.tensor(np.ascontiguousarray(array) if array.ndim else array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    model.graph.register_initializer(value)
    return value


def with_outputs(model: ir.Model, names: Iterable[str], *, only: bool = False) -> ir.Model:
    """A copy that also outputs the named tensors; with `only` it outputs nothing else, and a runtime skips the rest."""
    copy = model.clone()
    outputs = copy.graph.outputs
    values = ir.convenience.create_value_mapping(copy.graph)
    additions = [values[name] for name in dict.fromkeys(names)]
    if only:
        outputs.clear()
    present = {value.name for value in outputs}
    outputs.extend(value for value in additions if value.name not in present)
    return copy


def make_node(
    operator: str, inputs: Sequence[ir.Value | None], outputs: Sequence[str], name: str = "", **settings: Any
) -> ir.Node:
    """A node to insert with `graph.insert_before` or `graph.insert_after`; `settings` are its attributes."""
    return ir.node(operator, list(inputs), settings, outputs=[ir.Value(name=output) for output in outputs], name=name)


def replace_node(model: ir.Model, node: ir.Node, *nodes: ir.Node) -> None:
    """Put nodes in the place of one, in place; the last one's output takes the name and the readers of its first output."""
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], nodes, node.outputs[:1], nodes[-1].outputs[:1])


def set_constant(value: ir.Value, array: np.ndarray) -> None:
    """Change the contents of an initializer, in place."""
    value.const_value = ir.tensor(np.ascontiguousarray(array) if array.ndim else array, name=value.name)


# Files and metadata


def write_metadata(model: onnx.ModelProto, spec: InputSpec) -> None:
    """Write into the model what a user of the file needs: classes, normalisation, input size, producer; in place."""
    model.producer_name, model.producer_version = "compress", compress.__version__
    entries = {
        "classes": json.dumps(spec.classes, ensure_ascii=False),
        "mean": json.dumps(spec.mean),
        "std": json.dumps(spec.std),
        "shape": json.dumps(spec.shape),
        "layout": "NCHW",
        "resize": json.dumps(spec.resize),
        "compress": compress.__version__,
    }
    onnx.helper.set_model_props(model, entries)


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata that `write_metadata` wrote, decoded: lists, `resize`, `layout` and `compress` as text.

    Raises:
        ConversionError: The file is not ONNX.
    """
    plain = {"layout", "compress"}
    props = {entry.key: entry.value for entry in load(path).metadata_props}
    return {key: value if key in plain else json.loads(value) for key, value in props.items()}


def load(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        ConversionError: There is none, it is not ONNX, or its external data is missing or outside its folder.
    """
    model = read_graph(path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises errors of several unrelated classes
        reason = "its external data is missing or outside its folder: keep the weights file beside the .onnx file"
        msg = f"cannot read {path}: {reason} ({error})"
        raise ConversionError(msg) from error
    return model


def check_finite(model: onnx.ModelProto) -> None:
    """Refuse weights that are not finite.

    Raises:
        ConversionError: Naming the first such tensor.
    """
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            msg = f"{bad} of {values.size} values of {tensor.name!r} are not finite; retrain or reload the network"
            raise ConversionError(msg)


def check(model: onnx.ModelProto) -> None:
    """Check against the ONNX specification, shapes and types of every operator included.

    Raises:
        ConversionError: It is not valid; the message names the operator.
    """
    if _weight_bytes(model) > MAX_PROTOBUF_BYTES:
        model = _large_weights_as_inputs(model)  # the checker reads one protocol buffer
    try:
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        msg = f"the graph is not valid ONNX: {error}"
        raise ConversionError(msg) from error


def _large_weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without the contents of its large weights, which become inputs of the same type and shape."""
    light = onnx.ModelProto()
    for field, content in model.ListFields():
        if field.name != "graph":
            light.MergeFrom(onnx.ModelProto(**{field.name: content}))
    for field, content in model.graph.ListFields():
        if field.name != "initializer":
            light.graph.MergeFrom(onnx.GraphProto(**{field.name: content}))
    for tensor in model.graph.initializer:
        if tensor.ByteSize() < EXTERNAL_BYTES:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return light


def save(model: onnx.ModelProto | ir.Model, path: Path) -> None:
    """Write a network, whole or not at all: one file, and a second one with the weights where they exceed 2 GB.

    Raises:
        StoreError: The folder is not writable, or full.
    """
    if _weight_bytes(model) > MAX_PROTOBUF_BYTES:
        indexed = model if isinstance(model, ir.Model) else ir.from_proto(model)
        with atomic_write(path) as aside:
            ir.save(indexed, aside, "protobuf", external_data=f"{path.name}.data", size_threshold_bytes=EXTERNAL_BYTES)
        return
    proto = to_proto(model) if isinstance(model, ir.Model) else model
    with atomic_write(path) as aside:
        aside.write_bytes(proto.SerializeToString())


def _weight_bytes(model: onnx.ModelProto | ir.Model) -> int:
    if isinstance(model, ir.Model):
        return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    return sum(tensor.ByteSize() for tensor in model.graph.initializer)


def create_session(
    source: Path | onnx.ModelProto | ir.Model, *, optimised: bool = True, threads: int = 1
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Args:
        source: A file, or a network in memory.
        optimised: Fuse operators, as a user gets it; False runs each operator as the file has it.
        threads: Threads inside an operator.

    Raises:
        ConversionError: The runtime rejects the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors come back as exceptions with the same text
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    try:
        if not isinstance(source, Path) and _weight_bytes(source) > MAX_PROTOBUF_BYTES:
            with tempfile.TemporaryDirectory() as folder:
                save(source, Path(folder, "model.onnx"))
                return onnxruntime.InferenceSession(Path(folder, "model.onnx"), options, providers=["CPUExecutionProvider"])
        proto = to_proto(source) if isinstance(source, ir.Model) else source
        content = str(proto) if isinstance(proto, Path) else proto.SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        msg = f"ONNX Runtime {onnxruntime.__version__} does not take the graph: {error}"
        raise ConversionError(msg) from error


def run(runner: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """First output for a batch of inputs."""
    outputs: np.ndarray = runner.run(None, {runner.get_inputs()[0].name: inputs})[0]
    return outputs
