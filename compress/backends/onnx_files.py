"""Read, write and check ONNX files and their metadata."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

import compress
from compress.backends.onnx_graph import to_proto
from compress.backends.read_graph import read_graph
from compress.core.atomic_files import atomic_write, write_with
from compress.core.decoder_layout import CACHED, METADATA
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec

INPUT = "input"
OUTPUT = "logits"
MAX_PROTOBUF_BYTES = 2**31 - 1
"""Size limit of a protocol buffer. The weights of a larger network are in a second file, `<name>.data`."""
CONTROL_FLOW = frozenset(("If", "Loop", "Scan"))
"""Operators with subgraphs, in which onnx does not infer the types of outer tensors, so its strict check refuses them."""
EXTERNAL_BYTES = 1024
"""Tensors of at least this size are written to the second file."""


def write_metadata(model: onnx.ModelProto, spec: NetworkSpec) -> None:
    """Set the metadata of a model, in place: classes, normalisation, input size, signature and producer.

    The layout of a decoder stays.
    """
    model.producer_name, model.producer_version = "compress", compress.__version__
    entries = {"classes": json.dumps(spec.classes, ensure_ascii=False)}
    if spec.takes_images:
        entries |= {
            "mean": json.dumps(spec.mean),
            "std": json.dumps(spec.std),
            "shape": json.dumps(spec.shape),
            "layout": "NCHW",
            "resize": json.dumps(spec.resize),
        }
    if spec.image_text is not None:
        entries["image_text"] = spec.image_text.model_dump_json()
    if spec.text is not None:
        entries["text"] = spec.text.model_dump_json()
    if spec.audio is not None:
        entries["audio"] = spec.audio.model_dump_json()
    entries |= {"compress": compress.__version__, "signature": spec.signature.model_dump_json()}
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key in (METADATA, CACHED)}
    onnx.helper.set_model_props(model, entries | kept)


def read_metadata(path: Path) -> dict[str, object]:
    """Decoded metadata of `write_metadata`; `layout` and `compress` are text.

    Raises:
        ConversionError: The file is not ONNX.
    """
    plain = {"layout", "compress", CACHED}
    props = {entry.key: entry.value for entry in load(path).metadata_props}
    return {key: value if key in plain else json.loads(value) for key, value in props.items()}


def load(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        ConversionError: The file cannot be read, is not ONNX, or its external data is missing or outside its folder.
    """
    model = read_graph(path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises errors of several unrelated classes
        reason = gettext("its external data is missing or outside its folder: keep the weights file beside the .onnx file")
        msg = gettext("cannot read {path}: {reason} ({error})", path=path, reason=reason, error=error)
        raise ConversionError(msg) from error
    return model


def check_finite(model: onnx.ModelProto) -> None:
    """Check that all weights are finite.

    Raises:
        ConversionError: A weight is not finite; the message names the first such tensor.
    """
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and values.size > 1 and not np.isfinite(values).all():  # a scalar may be −∞ for a mask
            bad = int((~np.isfinite(values)).sum())
            msg = gettext(
                "{bad} of {size} values of {name!r} are not finite; retrain or reload the network",
                bad=bad,
                size=values.size,
                name=tensor.name,
            )
            raise ConversionError(msg)


def check(model: onnx.ModelProto) -> None:
    """Check a model against the ONNX specification, including shapes and types of every operator.

    Raises:
        ConversionError: The model is not valid; the message names the operator.
    """
    if exceeds_one_file(model):
        model = _large_weights_as_inputs(model)  # the checker is limited to one protocol buffer
    try:
        strict = not any(node.op_type in CONTROL_FLOW for node in model.graph.node)
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, check_type=strict, strict_mode=strict))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        msg = gettext("the graph is not valid ONNX: {error}", error=error)
        raise ConversionError(msg) from error


def _large_weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which large weights are replaced by inputs of the same type and shape."""
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
    """Write a network atomically; weights of more than 2 GB are written to a second file.

    Raises:
        StoreError: The folder is not writable, or the disk is full.
    """
    if exceeds_one_file(model):
        indexed = model if isinstance(model, ir.Model) else ir.from_proto(model)
        with atomic_write(path) as aside:
            ir.save(indexed, aside, "protobuf", external_data=_weights_file(path).name, size_threshold_bytes=EXTERNAL_BYTES)
        return
    proto = to_proto(model) if isinstance(model, ir.Model) else model
    with atomic_write(path) as aside:
        aside.write_bytes(proto.SerializeToString())


def copy(source: Path, target: Path) -> None:
    """Copy a file atomically, with the weights that are in a second file: that has the name of the first one in it.

    Raises:
        ConversionError: The file has external data that cannot be read.
        StoreError: The folder is not writable, or the disk is full.
    """
    if any(tensor.external_data for tensor in read_graph(source).graph.initializer):
        save(load(source), target)
    else:
        write_with(target, lambda aside: shutil.copyfile(source, aside))


def move(source: Path, target: Path) -> None:
    """Replace a file by another one of this package, with the weights that are in a second file; for errors see `copy`."""
    if _weights_file(source).exists():
        copy(source, target)
        remove(source)
    else:
        source.replace(target)
        _weights_file(target).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a file of this package, with its second file, if they exist."""
    for part in (path, _weights_file(path)):
        part.unlink(missing_ok=True)


def _weights_file(path: Path) -> Path:
    """The file of weights that `save` writes beside a large network."""
    return path.with_name(f"{path.name}.data")


def exceeds_one_file(model: onnx.ModelProto | ir.Model) -> bool:
    """Whether the weights exceed the size limit of one protocol buffer."""
    if isinstance(model, ir.Model):
        sizes = (value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    else:
        sizes = (tensor.ByteSize() for tensor in model.graph.initializer)
    return sum(sizes) > MAX_PROTOBUF_BYTES
