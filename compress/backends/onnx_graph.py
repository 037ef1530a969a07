"""ONNX files as such: what export and quantization both need of them. Metadata, tidying, checking, saving, running."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import compress
from compress.core.atomic_files import atomic_write
from compress.core.errors import ConversionError
from compress.core.record import InputSpec

INPUT = "input"
OUTPUT = "logits"
MAX_PROTOBUF_BYTES = 2**31 - 1
"""Protocol buffers end here; a network for the edge is far under it."""
NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter writes the modules around an operator: outermost first, the operator last."""


def write_metadata(model: onnx.ModelProto, spec: InputSpec) -> None:
    """Write into the model what a user of the file must know: classes, normalisation, input size, who made it."""
    model.producer_name, model.producer_version = "compress", compress.__version__
    entries = {
        "classes": json.dumps(spec.classes, ensure_ascii=False),
        "mean": json.dumps(spec.mean),
        "std": json.dumps(spec.std),
        "shape": json.dumps(spec.shape),
        "layout": "NCHW",
        "compress": compress.__version__,
    }
    onnx.helper.set_model_props(model, entries)


def read_metadata(path: Path) -> dict[str, Any]:
    """What `write_metadata` wrote: `classes`, `mean`, `std`, `shape` as lists, `layout` and `compress` as text.

    Raises:
        ConversionError: The file is not ONNX.
    """
    plain = {"layout", "compress"}
    props = {entry.key: entry.value for entry in load(path).metadata_props}
    return {key: value if key in plain else json.loads(value) for key, value in props.items()}


def load(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        ConversionError: There is none, or it is not ONNX.
    """
    try:
        return onnx.load(path, format="protobuf")
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}; give the path of an ONNX file"
        raise ConversionError(msg) from error
    except Exception as error:  # protobuf's DecodeError has a different base in each of its implementations
        if type(error).__name__ != "DecodeError":
            raise
        msg = f"{path} is not an ONNX file, or is cut off; export it again"
        raise ConversionError(msg) from error


def strip(model: onnx.ModelProto) -> None:
    """Take out what no runtime needs: exporter traces, documentation, inferred shapes, unused and doubled initializers."""
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        thing.ClearField("doc_string")
    for thing in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        thing.ClearField("metadata_props")
    graph.ClearField("value_info")
    _share_initializers(graph)


def _share_initializers(graph: onnx.GraphProto) -> None:
    used = {name for node in all_nodes(graph) for name in node.input} | {value.name for value in graph.output}
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    kept = []
    for tensor in graph.initializer:
        if tensor.name not in used:
            continue
        head = f"{tensor.data_type} {tuple(tensor.dims)} ".encode()
        digest = hashlib.sha256(head + onnx.numpy_helper.to_array(tensor).tobytes()).digest()
        renamed[tensor.name] = first.setdefault(digest, tensor.name)
        if renamed[tensor.name] == tensor.name or tensor.name in {value.name for value in graph.output}:
            kept.append(tensor)
    for node in all_nodes(graph):
        node.input[:] = [renamed.get(name, name) for name in node.input]
    del graph.initializer[:]
    graph.initializer.extend(kept)


DEFAULTS = {"auto_pad": b"NOTSET", "group": 1, "allowzero": 0, "noop_with_empty_axes": 0}


def shorten_names(graph: onnx.GraphProto) -> None:
    """Give tensors short names and leave out attributes that repeat the default: names are 4 % of a small int8 file.

    Inputs, outputs and nodes with weights keep their names; the Q/DQ nodes between lose theirs.
    """
    kept = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {name: name for name in (*kept, "")}
    for tensor in graph.initializer:
        tensor.name = names.setdefault(tensor.name, f"w{len(names)}")
    for node in all_nodes(graph):
        node.input[:] = [names.setdefault(name, f"t{len(names)}") for name in node.input]
        node.output[:] = [names.setdefault(name, f"t{len(names)}") for name in node.output]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""
        for attribute in [one for one in node.attribute if one.name in DEFAULTS and _value(one) == DEFAULTS[one.name]]:
            node.attribute.remove(attribute)


def _value(attribute: onnx.AttributeProto) -> object:
    return onnx.helper.get_attribute_value(attribute)


def module_path(node: onnx.NodeProto, weights: frozenset[str] = frozenset(), *, ours: bool = False) -> str:
    """Path of the torch module that a node came from, by what its exporter left; empty where it left nothing.

    Args:
        node: Of a file by either of torch's exporters, or by this package.
        weights: Names of the initializers.
        ours: This package wrote the file: a node is called by its layer, `layer1.0.conv1`, or by module and operator,
            `layer1.0/Add`.
    """
    if scopes := next((entry.value for entry in node.metadata_props if entry.key == NAME_SCOPES), ""):
        return next((str(name) for name in reversed(ast.literal_eval(scopes)[:-1]) if name), "")
    if "/" in node.name:
        return _folded(node.name.strip("/").split("/")[:-1])
    layer = next((name.rsplit(".", 1)[0] for name in node.input if name in weights and "." in name), "")
    generated = node.name == "" or node.name.startswith((node.op_type, "node_"))
    return layer or (node.name if ours and not generated else "")


def _folded(parts: Iterable[str]) -> str:
    """`features`, `features.0`, `conv` give `features.0.conv`: children of a Sequential carry their parent's name already."""
    path = ""
    for part in parts:
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part}"
    return path


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches and loop bodies included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from all_nodes(inner)


def check_finite(model: onnx.ModelProto) -> None:
    """Refuse weights that are not numbers.

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
    try:
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        msg = f"the graph that was made is not valid ONNX: {error}"
        raise ConversionError(msg) from error


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write one file, whole or not at all.

    Raises:
        ConversionError: It would be over 2 GB, the limit of an ONNX file.
        StoreError: The folder is not writable, or full.
    """
    size = sum(tensor.ByteSize() for tensor in model.graph.initializer)
    if size > MAX_PROTOBUF_BYTES:
        msg = f"a network of {size / 1e9:.1f} GB does not fit into one ONNX file (2 GB); prune or quantize it first"
        raise ConversionError(msg)
    with atomic_write(path) as aside:
        aside.write_bytes(model.SerializeToString())


def create_session(source: Path | onnx.ModelProto, *, optimised: bool = True, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Args:
        source: A file, or a model in memory.
        optimised: Fuse operators, as a user gets it; False runs each operator as the file has it.
        threads: Threads inside an operator.

    Raises:
        ConversionError: The runtime does not take the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    given = str(source) if isinstance(source, Path) else source.SerializeToString()
    try:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        msg = f"ONNX Runtime {onnxruntime.__version__} does not take the graph: {error}"
        raise ConversionError(msg) from error


def run(runner: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """First output for a batch of inputs."""
    found: np.ndarray = runner.run(None, {runner.get_inputs()[0].name: inputs})[0]
    return found
