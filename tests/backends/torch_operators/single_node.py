"""One operator in ONNX Runtime and in torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import torch

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.torch_operators.run_operator import run_operator
from compress.backends.torch_operators.values import Attributes, Value

Arrays = Sequence[np.ndarray | None]
GENERATOR = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    """Normal noise, float32."""
    return GENERATOR.normal(size=shape).astype(np.float32)


def integers(*values: int) -> np.ndarray:
    """A shape, axes or indices."""
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    """Scales."""
    return np.array(values, np.float32)


IMAGE, ROWS = normal(2, 4, 7, 7), normal(3, 8)


def model_of(operator: str, arrays: Arrays, attributes: Mapping[str, object], outputs: int, opset: int) -> onnx.ModelProto:
    names = ["" if array is None else f"x{index}" for index, array in enumerate(arrays)]
    written = [f"y{index}" for index in range(outputs)]
    node = onnx.helper.make_node(operator, names, written, name="it", **attributes)
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, arrays, strict=True)
        if array is not None
    ]
    values = [onnx.helper.make_empty_tensor_value_info(name) for name in written]
    graph = onnx.helper.make_graph([node], "single", inputs, values)
    inferred = onnx.shape_inference.infer_shapes(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9)
    )
    for value in inferred.graph.output:
        value.type.tensor_type.ClearField("shape")
        value.type.tensor_type.elem_type = value.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
    return inferred


def check_operator(
    operator: str,
    arrays: Arrays,
    attributes: Mapping[str, object],
    *,
    outputs: int = 1,
    opset: int = 20,
    tolerance: float = 1e-5,
) -> None:
    """Hold the torch function against ONNX Runtime; integers are given as numbers, floats as tensors."""
    model = model_of(operator, arrays, attributes, outputs, opset)
    feeds = {f"x{index}": array for index, array in enumerate(arrays) if array is not None}
    expected = onnx_session.create_session(model).run(None, feeds)
    (node,) = graphs.to_ir(model).graph
    values: list[Value] = [
        torch.from_numpy(np.array(array)) if array is not None and array.dtype.kind == "f" and array.ndim else array
        for array in arrays
    ]
    results = run_operator(operator, Attributes.of(node), values)
    for result, array in zip(results, expected, strict=False):
        own = result.numpy() if isinstance(result, torch.Tensor) else result
        assert own.shape == array.shape
        np.testing.assert_allclose(own, array, atol=tolerance, rtol=1e-5)
