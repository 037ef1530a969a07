"""Read the signature of an ONNX file: names, types and shapes of inputs and outputs, and allowed values of integers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from pydantic import ValidationError

from compress.backends.read_graph import all_nodes, graph_inputs, read_graph
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.signature import BATCH, Axis, DType, Signature, TensorSpec

TYPES: Mapping[int, DType] = MappingProxyType(
    {
        onnx.TensorProto.FLOAT: "float32",
        onnx.TensorProto.FLOAT16: "float16",
        onnx.TensorProto.BFLOAT16: "bfloat16",
        onnx.TensorProto.DOUBLE: "float64",
        onnx.TensorProto.INT8: "int8",
        onnx.TensorProto.UINT8: "uint8",
        onnx.TensorProto.INT16: "int16",
        onnx.TensorProto.UINT16: "uint16",
        onnx.TensorProto.INT32: "int32",
        onnx.TensorProto.UINT32: "uint32",
        onnx.TensorProto.INT64: "int64",
        onnx.TensorProto.UINT64: "uint64",
        onnx.TensorProto.BOOL: "bool",
    }
)
NOT_THE_BATCH = ("seq", "len", "time", "frame", "token", "height", "width", "channel")
"""Parts of the name of a first axis that is not the batch."""
MOVED = frozenset({"Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Transpose", "Gather"})
"""Operators that do not change the values of integers."""
SAME_ROWS = frozenset({"Cast", "DequantizeLinear", "Identity", "Mul"})
"""Operators that do not change the number of rows of a table, such as the dequantization of an int8 table."""
IMAGE_AXES = ("height", "width")


def read_signature(path: Path) -> Signature:
    """Signature of an ONNX file, with sizes of free axes only if `compress` wrote them into its metadata.

    The first axis of an input is the batch if it is free and its name does not denote something else. A free axis without a
    name is called `height` or `width` in an input (N, C, H, W), else by the name of the input and the index of the axis.

    Args:
        path: ONNX file; external data are not read.

    Raises:
        ConversionError: The file is not ONNX, has no inputs, or has inputs that are not numeric tensors or have no rank.
    """
    model = read_graph(path)
    inputs = graph_inputs(model.graph)
    if not inputs:
        msg = gettext("{path} has no inputs, so its outputs are constant; export it with an input", path=path)
        raise ConversionError(msg)
    specs = [_spec(path, value) for value in inputs]
    batch_names = {spec.shape[0] for spec in specs if spec.shape and _is_batch(spec.shape[0])}
    ranges = _Values(model.graph)
    input_specs = tuple(
        spec.model_copy(update={"shape": _named(spec, batch_names), "values": ranges.of(spec)}) for spec in specs
    )  # fmt: skip
    outputs = tuple(_output(value, batch_names) for value in model.graph.output)
    signature = Signature(inputs=input_specs, outputs=tuple(output for output in outputs if output is not None))
    return _with_metadata(path, model, signature)


def _spec(path: Path, value: onnx.ValueInfoProto) -> TensorSpec:
    """An input with the names of its free axes in the file; a free axis without name is `?`."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        type_name = (kind or gettext("an unknown type")).removesuffix("_type").replace("_", " ")
        msg = gettext(
            "{path}: input {name!r} is of type {type_name}; only tensors are supported: export it with tensors",
            path=path,
            name=value.name,
            type_name=type_name,
        )
        raise ConversionError(msg)
    tensor = value.type.tensor_type
    if tensor.elem_type not in TYPES:
        names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
        type_name = names.get(tensor.elem_type, "undefined")
        msg = gettext(
            "{path}: input {name!r} is of type {type_name}; supported types are {types}",
            path=path,
            name=value.name,
            type_name=type_name,
            types=", ".join(TYPES.values()),
        )
        if tensor.elem_type == onnx.TensorProto.STRING:
            msg = gettext(
                "{path}: input {name!r} is text; export the network without its tokenizer: inputs must be numbers",
                path=path,
                name=value.name,
            )
        raise ConversionError(msg)
    if not tensor.HasField("shape"):
        msg = gettext(
            "{path}: input {name!r} has no rank, so its shape is unknown; export it with named free axes",
            path=path,
            name=value.name,
        )
        raise ConversionError(msg)
    return TensorSpec(name=value.name, dtype=TYPES[tensor.elem_type], shape=_axes(tensor))


def _axes(tensor: onnx.TypeProto.Tensor) -> tuple[Axis, ...]:
    """Axes of a tensor: a negative size is a free axis, and a size of 0 is refused later."""
    return tuple(
        dim.dim_value if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0 else dim.dim_param or "?"
        for dim in tensor.shape.dim
    )


def _is_batch(axis: Axis) -> bool:
    return isinstance(axis, str) and not any(part in axis.lower() for part in NOT_THE_BATCH)


def _named(spec: TensorSpec, batch_names: set[Axis]) -> tuple[Axis, ...]:
    """The shape with `BATCH` as name of the batch, and generated names for free axes without name."""
    images = len(spec.shape) == 4 and spec.is_continuous
    axes: list[Axis] = []
    for index, axis in enumerate(spec.shape):
        if isinstance(axis, int):
            axes.append(axis)
        elif (index == 0 and _is_batch(axis)) or (axis in batch_names and axis != "?"):
            axes.append(BATCH)
        elif axis == "?" or "." in axis or axis.startswith("unk__"):
            axes.append(IMAGE_AXES[index - 2] if images and index > 1 else f"{spec.name}_axis{index}")
        else:
            axes.append(axis)
    return tuple(axes)


def _output(value: onnx.ValueInfoProto, batch_names: set[Axis]) -> TensorSpec | None:
    """An output; None if it is not a numeric tensor."""
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or tensor.elem_type not in TYPES:
        return None
    spec = TensorSpec(name=value.name, dtype=TYPES[tensor.elem_type], shape=_axes(tensor))
    return spec.model_copy(update={"shape": _named(spec, batch_names)})


class _Values:
    """Determines the values that the graph allows for integer inputs.

    Args:
        graph: The main graph.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = list(all_nodes(graph))
        self.tensors = {tensor.name: tensor for tensor in _tensors(graph, self.nodes)}
        self.tables = {name: tuple(tensor.dims) for name, tensor in self.tensors.items()}
        for node in self.nodes:
            if node.op_type in SAME_ROWS and node.input[0] in self.tables:
                self.tables[node.output[0]] = self.tables[node.input[0]]

    def of(self, spec: TensorSpec) -> tuple[int, int] | None:
        """Smallest and largest value: rows of the table of a Gather, or a constant that the input is compared with.

        A mask is 1 everywhere, because masked values have no effect.
        """
        if spec.is_continuous or spec.dtype == "bool":
            return None
        for node in self._readers({spec.name}):
            if node.op_type == "Gather" and node.input[0] in self.tables:
                axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
                dims = self.tables[node.input[0]]
                if -len(dims) <= axis < len(dims):
                    return 0, dims[axis] - 1
            if node.op_type == "Equal" and not spec.shape:
                for tensor in (self.tensors[name] for name in node.input if name in self.tensors):
                    constant = int(np.ravel(onnx.numpy_helper.to_array(tensor))[0])
                    return constant, constant
        return (1, 1) if "mask" in spec.name.lower() else None

    def _readers(self, names: set[str]) -> Iterator[onnx.NodeProto]:
        """Nodes that read a tensor directly or after operators that only move it."""
        for node in self.nodes:  # in order, so that one pass follows a chain
            if names & set(node.input):
                yield node
                if node.op_type in MOVED and node.input[0] in names:
                    names |= set(node.output)


def _tensors(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """Weights in the main graph, in subgraphs and in Constant nodes, with the name of the tensor."""
    yield from graph.initializer
    for node in nodes:
        for attribute in node.attribute:
            yield from attribute.g.initializer
            if node.op_type == "Constant" and attribute.name == "value":
                tensor = onnx.TensorProto()
                tensor.CopyFrom(attribute.t)
                tensor.name = node.output[0]
                yield tensor


def _with_metadata(path: Path, model: onnx.ModelProto, signature: Signature) -> Signature:
    """The signature with names and sizes of free axes and integer values from the metadata of `compress`."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if not {"compress", "signature"} <= entries.keys():
        return signature
    try:
        metadata = Signature.model_validate_json(entries["signature"])
    except ValidationError as error:
        first = error.errors()[0]["msg"]
        msg = gettext("{path}: its metadata `signature` is damaged ({first}); export it again", path=path, first=first)
        raise ConversionError(msg) from error
    specs = {spec.name: spec for spec in (*metadata.inputs, *metadata.outputs)}

    def merge(spec: TensorSpec) -> TensorSpec:
        other = specs.get(spec.name)
        if other is None or len(other.shape) != len(spec.shape):
            return spec
        pairs = zip(spec.shape, other.shape, strict=True)
        shape = tuple(name if isinstance(axis, str) and isinstance(name, str) else axis for axis, name in pairs)
        return spec.model_copy(update={"shape": shape, "values": other.values or spec.values})

    merged = Signature(inputs=tuple(map(merge, signature.inputs)), outputs=tuple(map(merge, signature.outputs)))
    sizes = {axis: metadata.sizes[axis] for axis in merged.free_axes if axis in metadata.sizes}
    return merged.model_copy(update={"sizes": sizes})
