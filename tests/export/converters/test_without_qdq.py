from pathlib import Path

import numpy as np

from compress.backends import onnx_files
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.export.converters.without_qdq import float_weights, without_qdq
from tests.backends.converted.files import IMAGES, write_int8


def test_the_float_file_differs_by_rounding_alone(tmp_path: Path) -> None:
    source, target = write_int8(tmp_path), tmp_path / "bare.onnx"
    found = without_qdq(source)
    onnx_files.save(found.model, target)
    with OnnxRuntimeRunner(source, level="off") as before, OnnxRuntimeRunner(target) as after:
        (expected,), (bare,) = before.run({"x": IMAGES}), after.run({"x": IMAGES})
    assert np.abs(bare - expected).max() <= 0.05 * np.abs(expected).max()
    assert {node.op_type for node in found.model.graph.node} & {"QuantizeLinear", "DequantizeLinear"} == set()


def test_a_range_from_zero_becomes_the_activation_function_that_it_replaced(tmp_path: Path) -> None:
    source = write_int8(tmp_path)
    before = [node.op_type for node in onnx_files.load(source).graph.node]
    after = [node.op_type for node in without_qdq(source).model.graph.node]
    assert before.count("Relu") + before.count("Clip") == 0
    assert after.count("Clip") >= 2


def test_integers_scales_and_ranges_of_products_are_kept(tmp_path: Path) -> None:
    found = without_qdq(write_int8(tmp_path))
    floats = float_weights(found.model)
    assert len(found.products) == 4
    for output, product in found.products.items():
        rows = product.weights if product.weights.shape == floats[output].shape else product.weights.T
        scales = product.scales.reshape(-1, *[1] * (rows.ndim - 1))
        np.testing.assert_allclose(rows * scales, floats[output], rtol=1e-6)
        assert product.largest > 0
