"""Small float and Q/DQ files for conversions."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.core.network_spec import image_spec
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from tests.profile.onnx_models import model

SIDE = 8
IMAGES = np.random.default_rng(1).normal(size=(4, 3, SIDE, SIDE)).astype(np.float32)
SPEC = image_spec(channels=3, height=SIDE, width=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple("abcde"))


def residual() -> onnx.ModelProto:
    """Convolutions, one of them depthwise, around a sum, a mean and a linear layer, with biases and activation functions."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "d"], ["e"], pads=[1, 1, 1, 1], group=8, name="depthwise"),
        helper.make_node("Clip", ["e", "low", "high"], ["k"], name="clip"),
        helper.make_node("Conv", ["k", "p"], ["q"], name="point"),
        helper.make_node("Add", ["q", "r"], ["s"], name="sum"),
        helper.make_node("GlobalAveragePool", ["s"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "v", "u"], ["y"], name="head"),
    ]
    shapes = {"w": (8, 3, 3, 3), "b": (8,), "d": (8, 1, 3, 3), "p": (8, 8, 1, 1), "v": (8, 5), "u": (5,)}
    weights = {name: random.normal(size=shape).astype(np.float32) * 0.5 for name, shape in shapes.items()}
    weights |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    return model(nodes, weights, "y", ["n", 3, SIDE, SIDE])


def write_float(folder: Path) -> Path:
    """The float file."""
    path = folder / "float.onnx"
    onnx_files.save(onnx.shape_inference.infer_shapes(residual()), path)
    return path


def write_int8(folder: Path, family: str = "onnxruntime") -> Path:
    """The Q/DQ file with the placement of a runtime."""
    path = folder / "int8.onnx"
    plan = plan_static_int8(
        graphs.to_ir(onnx_files.load(write_float(folder))),
        [{"x": IMAGES}],
        Int8Format((family,)),
        CalibrationSettings(),
        PTQSettings(),
    )
    onnx_files.save(plan.build(family, (), SPEC), path)
    return path
