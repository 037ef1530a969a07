"""One look at an ONNX file from outside, before anything else reads it."""

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

PROBE = Path(__file__).with_name("crash_probe.py")
MAX_INPUT_BYTES = 2**31
"""Largest input of one run; ONNX Runtime allocates it before it can refuse it."""
TIMEOUT_S = 120.0
FREE = -1
"""How some exporters write the size of a free axis."""
FeedShapes = Mapping[str, tuple[Sequence[int], str, int]]
"""Shape, NumPy type and value of each input."""


class ProbeResult(NamedTuple):
    """What ONNX Runtime did with a file in a process of its own.

    Attributes:
        ran: Number of the inputs that it ran on, the first of those that it takes; None where it ran on none.
        refusal: What it said of the last inputs; empty where one ran.
    """

    ran: int | None
    refusal: str


def check_onnx_file(path: Path, tries: Sequence[FeedShapes] = (), *, timeout_s: float = TIMEOUT_S) -> ProbeResult:
    """Refuse a file that is damaged or made to do harm.

    The file is read, its operator sets and inputs are checked, and ONNX Runtime loads and runs it in a process of its own.

    Args:
        path: ONNX file.
        tries: Inputs to run it on, one after the other, until one runs; none feeds zeros, of size 1 where an axis is free.
        timeout_s: Longest run of that process, s.

    Raises:
        ConversionError: Not readable, names that are not UTF-8, external data outside its folder, no operator set, inputs of no
            or of an impossible size, or ONNX Runtime crashes on it or does not finish.
    """
    model = onnx_files.load(path)
    if any(isinstance(text, bytes) for text in _texts(model)):
        msg = f"{path} has names that are not UTF-8; export it again"
        raise ConversionError(msg)
    if not any(entry.domain in ("", "ai.onnx") for entry in model.opset_import):
        msg = f"{path} names no ONNX operator set, so that its operators have no meaning; export it again"
        raise ConversionError(msg)
    for value in graph_inputs(model.graph):
        _check_input(path, value)
    return _run_apart(path, tries, timeout_s)


def _texts(message: Message) -> Iterator[object]:
    """All texts of a message: names, operators, free axes, metadata; protobuf gives bytes where one is not UTF-8."""
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
        msg = f"{path}: input {value.name!r} has a dimension below 1: {sizes}; export it with sizes of 1 or more"
        raise ConversionError(msg)
    if prod(sizes) * item > MAX_INPUT_BYTES:
        size_gb = prod(sizes) * item / 1e9
        msg = f"{path}: one run needs {size_gb:.3g} GB for input {value.name!r}, {sizes}; 2.1 GB is the most: use a smaller one"
        raise ConversionError(msg)


def _run_apart(path: Path, tries: Sequence[FeedShapes], timeout_s: float) -> ProbeResult:
    command = [sys.executable, "-P", str(PROBE), str(path.resolve()), json.dumps([*tries])]
    try:
        process = subprocess.run(  # noqa: S603  # this interpreter and a file of the package
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        msg = f"ONNX Runtime does not finish one run of {path} within {timeout_s:g} s; use a smaller network"
        raise ConversionError(msg) from error
    if process.returncode != 0:
        code = process.returncode
        reason = f"signal {-code}" if code < 0 else f"exit status {code}"
        msg = f"ONNX Runtime crashes on {path} ({reason}); the file is damaged, or hits a fault of the runtime: export it again"
        raise ConversionError(msg)
    ran = process.stdout.strip()
    return ProbeResult(int(ran) if ran.isdecimal() else None, process.stderr.strip())
