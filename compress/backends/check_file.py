"""Check an untrusted ONNX file before anything else reads it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from compress.backends import onnx_files
from compress.backends.read_graph import graph_inputs
from compress.core.errors import ConversionError
from compress.core.language import gettext

PROBE = Path(__file__).with_name("crash_probe.py")
MAX_INPUT_BYTES = 2**31
"""Largest size of an input; ONNX Runtime would allocate a larger one before it refuses it."""
TIMEOUT_S = 120.0
FREE = -1
"""Size of a free axis in the files of some exporters."""
FeedShapes = Mapping[str, tuple[Sequence[int], str, int]]
"""Shape, NumPy type and value of each input."""


class ProbeResult(NamedTuple):
    """Result of running a file in ONNX Runtime in a separate process.

    Attributes:
        ran: Index of the first inputs on which the file ran; None if it ran on none.
        refusal: Error message for the last inputs; empty if the file ran.
    """

    ran: int | None
    refusal: str


def check_onnx_file(path: Path, tries: Sequence[FeedShapes] = (), *, timeout_s: float = TIMEOUT_S) -> ProbeResult:
    """Check a file that may be damaged or malicious: read it, check opsets and inputs, and run it in a separate process.

    Args:
        path: ONNX file.
        tries: Inputs to run the file on, in turn, until it runs; empty feeds zeros, of size 1 in free axes.
        timeout_s: Time limit of the process, s.

    Raises:
        ConversionError: The file cannot be read, has names that are not UTF-8, external data outside its folder, no opset, or
            inputs of an invalid size; or ONNX Runtime crashes on it or exceeds the time limit.
    """
    model = onnx_files.load(path)
    if any(isinstance(text, bytes) for text in _texts(model)):
        msg = gettext("{path} has names that are not UTF-8; export it again", path=path)
        raise ConversionError(msg)
    if not any(entry.domain in ("", "ai.onnx") for entry in model.opset_import):
        msg = gettext("{path} has no ONNX opset, so its operators are undefined; export it again", path=path)
        raise ConversionError(msg)
    for value in graph_inputs(model.graph):
        _check_input(path, value)
    return _run_probe(path, tries, timeout_s)


def _texts(message: Message) -> Iterator[object]:
    """All strings of a message: names, operators, free axes, metadata; a string that is not UTF-8 is bytes."""
    for field, value in message.ListFields():
        values = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
        if field.type == FieldDescriptor.TYPE_STRING:
            yield from values
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in values:
                yield from _texts(part)


def _check_input(path: Path, value: onnx.ValueInfoProto) -> None:
    kind = value.type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim if dim.WhichOneof("value") == "dim_value" and dim.dim_value != FREE]
    item = 4
    if kind.elem_type in onnx.TensorProto.DataType.values() and kind.elem_type != onnx.TensorProto.UNDEFINED:
        item = max(1, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize)
    if any(size < 1 for size in sizes):
        msg = gettext(
            "{path}: input {name!r} has a dimension below 1: {sizes}; export it with sizes of 1 or more",
            path=path,
            name=value.name,
            sizes=sizes,
        )
        raise ConversionError(msg)
    if prod(sizes) * item > MAX_INPUT_BYTES:
        size_gb = prod(sizes) * item / 1e9
        msg = gettext(
            "{path}: input {name!r}, {sizes}, needs {size_gb:.3g} GB, allowed are 2.1 GB: export it with smaller sizes",
            path=path,
            name=value.name,
            sizes=sizes,
            size_gb=size_gb,
        )
        raise ConversionError(msg)


def _run_probe(path: Path, tries: Sequence[FeedShapes], timeout_s: float) -> ProbeResult:
    command = [sys.executable, "-P", str(PROBE), str(path.resolve()), json.dumps([*tries])]
    try:
        process = subprocess.run(  # noqa: S603  # this interpreter and a file of the package
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        msg = gettext(
            "one run of {path} in ONNX Runtime takes longer than {timeout_s:g} s; use a smaller network",
            path=path,
            timeout_s=timeout_s,
        )
        raise ConversionError(msg) from error
    if process.returncode != 0:
        code = process.returncode
        reason = gettext("signal {value}", value=-code) if code < 0 else gettext("exit status {code}", code=code)
        msg = gettext(
            "ONNX Runtime crashes on {path} ({reason}); the file is damaged, or the runtime has a bug: export it again",
            path=path,
            reason=reason,
        )
        raise ConversionError(msg)
    ran = process.stdout.strip()
    return ProbeResult(int(ran) if ran.isdecimal() else None, process.stderr.strip())
