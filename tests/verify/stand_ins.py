"""Small networks, and a stand-in for the emulator."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

SHAPE = (3, 8, 8)


def made(nodes: list, shape: list, tensors: list, outputs: tuple = ("batch", 10), opset: int = 17) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, list(outputs))
    graph = helper.make_graph(nodes, "g", [given], [result], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def emulator(folder: Path, script: str) -> None:
    """Put a stand-in for qemu on PATH."""
    path = folder / "bin" / "qemu-aarch64-static"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
