"""Each operator against ONNX Runtime, in single-node graphs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.quantize.qat.onnx_operators import OPERATORS

GENERATOR = np.random.default_rng(0)
IMAGE = GENERATOR.normal(size=(2, 4, 7, 7)).astype(np.float32)
KERNEL = GENERATOR.normal(size=(6, 2, 3, 3)).astype(np.float32)
ROWS = GENERATOR.normal(size=(3, 8)).astype(np.float32)
FACTORS = GENERATOR.normal(size=(8,)).astype(np.float32)
CASES = {
    "Conv": ([IMAGE, KERNEL], {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}),
    "Gemm": ([ROWS, GENERATOR.normal(size=(5, 8)).astype(np.float32)], {"transB": 1, "alpha": 0.5}),
    "MaxPool": ([IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "AveragePool": ([IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "GlobalAveragePool": ([IMAGE], {}),
    "HardSigmoid": ([ROWS], {"alpha": 0.3, "beta": 0.4}),
    "HardSwish": ([4 * ROWS], {}),
    "LeakyRelu": ([ROWS], {"alpha": 0.2}),
    "Softmax": ([ROWS], {"axis": 0}),
    "LayerNormalization": ([ROWS, FACTORS, FACTORS], {"epsilon": 1e-3}),
    "Slice": ([IMAGE, np.array([1]), np.array([6]), np.array([2]), np.array([2])], {}),
    "Gather": ([IMAGE, np.array([3, 0])], {"axis": 1}),
    "Reshape": ([IMAGE, np.array([0, -1])], {}),
    "Flatten": ([IMAGE], {"axis": 2}),
    "Transpose": ([IMAGE], {"perm": [0, 2, 3, 1]}),
    "Unsqueeze": ([ROWS, np.array([0, 3])], {}),
    "Expand": ([ROWS, np.array([2, 3, 8])], {}),
    "Pad": ([ROWS, np.array([0, 1, 2, 0]), np.array(1.5, np.float32)], {}),
    "ReduceMean": ([IMAGE, np.array([2, 3])], {"keepdims": 0}),
    "ReduceL2": ([IMAGE, np.array([1])], {"keepdims": 1}),
}


@pytest.mark.parametrize("operator", CASES)
def test_result_is_that_of_onnx_runtime(operator: str) -> None:
    arrays, attributes = CASES[operator]
    names = [f"x{index}" for index in range(len(arrays))]
    node = onnx.helper.make_node(operator, names, ["y"], **attributes)
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, arrays, strict=True)
    ]
    outputs = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)]
    graph = onnx.helper.make_graph([node], "single", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    (expected,) = onnx_session.create_session(model).run(None, dict(zip(names, arrays, strict=True)))
    (indexed,) = graphs.to_ir(model).graph
    y = OPERATORS[operator](graphs.attributes(indexed), [torch.from_numpy(np.asarray(array)) for array in arrays])
    assert isinstance(y, torch.Tensor)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-5, rtol=1e-4)
