"""Read the graph of an ONNX file without external data; the only place that detects files that are not ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from compress.backends.runner_protocol import Shapes
from compress.core.errors import ConversionError
from compress.core.language import gettext


def read_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file without its external data.

    Raises:
        ConversionError: The file cannot be read, or is not ONNX.
    """
    try:
        return onnx.load(path, format="protobuf", load_external_data=False)
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}; give the path of an ONNX file", path=path, strerror=error.strerror)
        raise ConversionError(msg) from error
    except Exception as error:
        # the base class of protobuf's DecodeError differs between its implementations
        if type(error).__name__ != "DecodeError":
            raise
        msg = gettext("{path} is not an ONNX file, or it is truncated; export it again", path=path)
        raise ConversionError(msg) from error


def graph_inputs(graph: onnx.GraphProto) -> tuple[onnx.ValueInfoProto, ...]:
    """Inputs that a caller feeds, without initializers that are also listed as inputs."""
    weights = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    return tuple(value for value in graph.input if value.name not in weights)


def input_names(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Names of the inputs that a caller feeds."""
    return tuple(value.name for value in graph_inputs(graph))


def graph_shapes(path: Path) -> Shapes:
    """Shape and NumPy type of each input of an ONNX file.

    Raises:
        ConversionError: The file cannot be read, or is not ONNX.
    """
    return {
        value.name: (
            tuple(dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim),
            str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
        )
        for value in graph_inputs(read_graph(path).graph)
    }


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, including those of branches and loop bodies."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from all_nodes(inner)
