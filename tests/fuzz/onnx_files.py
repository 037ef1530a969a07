"""ONNX files with changed bytes and with faults made on purpose, as `compress profile` and `compress verify` first read them.

ONNX Runtime runs in a process of its own there, so that an input takes about half a second of CPU time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compress.backends.check_file import check_onnx_file
from compress.profile.cost_model.operator_work import operator_work
from compress.verify.inputs import load_samples
from tests.fuzz.harness import Case

SHAPES: tuple[list[object], ...] = (
    [-1, 3, 8, 8], [1, 3, -8, 8], [0, 3, 8, 8], [1, 3, 0, 0], [10**12, 3, 8, 8], [1, 3, 10**6, 10**6], [1, 3, 2**62, 8],
    [], [1],
    [1, 3, 8, 8, 1], [1, 3, "h", "w"], [None] * 4, [2**40],
)  # fmt: skip
LOCATIONS = ("../../../../etc/passwd", "/etc/passwd", "missing.bin", "", ".", "../" * 500 + "etc/passwd", "x" * 5000,
"/dev/zero",
             "/proc/self/mem", "*/_ORT_MEM_ADDR_/*", "https://127.0.0.1/x")  # fmt: skip
SCOPES = ("[" * 5000, "[" * 100_000, "3", "None", "__import__('os').system('touch x')", "['a'", "{1:2}", "9**9**9")
ATTRIBUTES: tuple[tuple[str, object], ...] = (
    ("pads", [-1] * 4), ("pads", [2**40] * 4), ("strides", [0, 0]), ("strides", [-1, -1]), ("dilations", [0, 0]),
    ("dilations", [2**33] * 2), ("group", 0), ("group", -1), ("group", 2**40), ("kernel_shape", [0, 0]), ("kernel_shape",
    [2**40, 1]),
)  # fmt: skip
MODES = ("bytes", "bytes", "bytes", "shape", "external data", "scopes", "attribute", "metadata", "version", "wiring")


def network(shape: list[object]) -> onnx.ModelProto:
    """Convolution, ReLU, mean and product."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["a"], pads=[1, 1, 1, 1], name="conv/Conv"), helper.make_node("Relu",
        ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]), helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "f"], ["logits"]),
    ]  # fmt: skip
    tensors = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.ones((4, 5), np.float32), "f")]
    values = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("input", shape), ("logits", ["batch", 5]))
    )
    first, last = values
    graph = helper.make_graph(nodes, "g", [first], [last], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def cases(rng: random.Random, count: int, work: Path) -> Iterator[Case]:
    """Each input: one file."""
    path = work / "model.onnx"
    for _ in range(count):
        mode = rng.choice(MODES)
        path.write_bytes(_changed(mode, rng))
        yield Case(mode, partial(_use, path))


def _use(path: Path) -> None:
    check_onnx_file(path, timeout_s=30)
    load_samples(path, 2, recipe=None, images=())
    operator_work(path)


def _changed(mode: str, rng: random.Random) -> bytes:
    if mode == "bytes":
        content = bytearray(network(["batch", 3, 8, 8]).SerializeToString())
        for _ in range(rng.choice([1, 1, 2, 5, 20])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        return bytes(content[: rng.randrange(len(content))] if rng.random() < 0.1 else content)
    if mode == "shape":
        return network(rng.choice(SHAPES)).SerializeToString()
    model = network(["batch", 3, 8, 8])
    EDITS[mode](model, rng)
    return model.SerializeToString()


def _external_data(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    offset, length = rng.choice([("0", "432"), ("-5", "432"), ("0", "-1"), ("9" * 20, "432"), ("abc", "x")])
    for key, value in (("location", rng.choice(LOCATIONS)), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _scopes(model: onnx.ModelProto, rng: random.Random) -> None:
    for node in model.graph.node:
        entry = node.metadata_props.add()
        entry.key, entry.value = "pkg.torch.onnx.name_scopes", rng.choice(SCOPES)


def _attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = model.graph.node[0]
    del node.attribute[:]
    node.attribute.append(helper.make_attribute(*rng.choice(ATTRIBUTES)))


def _metadata(model: onnx.ModelProto, rng: random.Random) -> None:
    values = ("[", "{}", "null", "3", "[" * 5000, "\x1b[2J", "é")
    helper.set_model_props(
        model, {"compress": "0.1.0", rng.choice(["mean", "std", "classes", "shape", "resize"]): rng.choice(values)}
    )


def _version(model: onnx.ModelProto, rng: random.Random) -> None:
    model.ir_version = rng.choice([0, 3, 10, 99])
    model.opset_import[0].version = rng.choice([0, 1, 17, 99])
    if rng.random() < 0.2:
        model.ClearField("opset_import")


def _wiring(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(list(model.graph.node))
    change = rng.randrange(6)
    if change == 0:
        node.input[0] = rng.choice(["b", "logits", "", "nowhere", "[/x] \x1b[31m"])
    elif change == 1:
        node.output[0] = rng.choice(["a", "input", "w", ""])
    elif change == 2:
        node.op_type = rng.choice(["Nope", "", "Loop", "If", "LSTM"])
    elif change == 3:
        node.domain = "elsewhere"
    elif change == 4:
        model.graph.input[0].type.tensor_type.elem_type = rng.choice([0, 1, 7, 8, 16, 99])
    else:
        model.graph.ClearField(rng.choice(["input", "output", "node", "initializer"]))


EDITS: dict[str, Callable[[onnx.ModelProto, random.Random], None]] = {
    "external data": _external_data, "scopes": _scopes, "attribute": _attribute, "metadata": _metadata, "version": _version,
    "wiring": _wiring,
}  # fmt: skip
