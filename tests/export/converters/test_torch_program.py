from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from compress.backends import onnx_files
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.errors import ConversionError
from compress.export.converters.torch_program import torch_program
from tests.backends.converted.files import IMAGES, write_float, write_int8
from tests.profile.onnx_models import model


def outputs_of(path: Path) -> np.ndarray:
    with OnnxRuntimeRunner(path, level="off") as runner:
        return runner.run({"x": IMAGES})[0]


@pytest.mark.parametrize("options", [{}, {"unfolded": True}, {"requantized": True}])
@pytest.mark.parametrize("family", ["onnxruntime", "openvino", "tensorrt"])
def test_a_qdq_program_rounds_where_the_file_does(family: str, options: dict[str, bool], tmp_path: Path) -> None:
    path = write_int8(tmp_path, family)
    with OnnxRuntimeRunner(path, level="off") as runner:
        expected = np.concatenate([runner.run({"x": IMAGES[index : index + 1]})[0] for index in range(len(IMAGES))])
    network, _ = torch_program(path, {"x": IMAGES[:1]}, **options)
    with torch.no_grad():
        found = torch.cat([network(torch.from_numpy(IMAGES[index : index + 1])) for index in range(len(IMAGES))]).numpy()
    # sums in another order may move a value over a rounding edge; most values do not move at all
    assert np.median(np.abs(found - expected)) <= 1e-5 * np.abs(expected).max()
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()


def test_a_float_program_computes_what_the_file_does(tmp_path: Path) -> None:
    path = write_float(tmp_path)
    network, example = torch_program(path, {"x": IMAGES})
    with torch.no_grad():
        np.testing.assert_allclose(network(*example).numpy(), outputs_of(path), atol=1e-4)


def test_quantized_weights_are_stored_as_integers_and_activations_as_operators(tmp_path: Path) -> None:
    network, example = torch_program(write_int8(tmp_path), {"x": IMAGES[:1]})
    assert {str(buffer.dtype) for name, buffer in network.named_buffers() if name.startswith("weight_")} == {"torch.int8"}
    targets = {str(node.target) for node in torch.export.export(network, example, strict=False).graph.nodes}
    assert "quantized_decomposed.quantize_per_tensor.default" in targets
    assert "quantized_decomposed.dequantize_per_channel.default" in targets


def test_a_product_without_quantized_output_computes_in_float(tmp_path: Path) -> None:
    path = write_int8(tmp_path, "tensorrt")
    kept, _ = torch_program(path, {"x": IMAGES[:1]})
    floats, _ = torch_program(path, {"x": IMAGES[:1]}, requantized=True)
    count = [sum(name.startswith("weight_") for name, _ in network.named_buffers()) for network in (kept, floats)]
    assert count[1] < count[0]


def test_an_operator_without_torch_function_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    made = model([helper.make_node("Det", ["x"], ["y"], name="odd")], {}, "y")
    onnx_files.save(onnx.shape_inference.infer_shapes(made), path)
    with pytest.raises(ConversionError, match=r"Det \(odd\)"):
        torch_program(path, {"x": IMAGES})
