from pathlib import Path

import numpy as np
import pytest

from compress.core.errors import ConversionError
from compress.export.converters.ncnn import INT8, _write_int8
from compress.export.converters.without_qdq import float_weights, without_qdq
from tests.backends.converted.files import write_int8

LINES = [
    "7767517",
    "5 5",
    "Input in0 0 1 in0",
    "Convolution c 1 1 in0 1 0=8 1=3 4=1 5=1 6=216 9=1",
    "ConvolutionDepthWise d 1 1 1 2 0=8 1=3 5=0 6=72 7=8",
    "Convolution p 1 1 2 3 0=8 1=1 5=0 6=64",
    "InnerProduct h 1 1 3 out0 0=5 1=1 2=40",
]


def test_weights_are_replaced_by_integers_biases_kept_and_scales_added(tmp_path: Path) -> None:
    found = without_qdq(write_int8(tmp_path))
    products = [found.products[output] for output in float_weights(found.model)]
    floats = [*float_weights(found.model).values()]
    biases = [np.arange(count, dtype="<f4") for count in (8, 0, 0, 5)]
    data = b"".join(
        bytes(4) + weight.astype("<f4").tobytes() + bias.tobytes() for weight, bias in zip(floats, biases, strict=True)
    )
    target, lines = tmp_path / "m.ncnn.param", [*LINES]
    _write_int8(lines, data, found, target)

    assert [line.rpartition(" ")[2] for line in lines[3:]] == ["8=2", "8=1", "8=2", "8=2"]
    written, place = target.with_suffix(".bin").read_bytes(), 0
    for product, weight, bias in zip(products, floats, biases, strict=True):
        assert written[place : place + 4] == INT8
        stored = np.frombuffer(written, np.int8, weight.size, place + 4).reshape(weight.shape)
        place += 4 + weight.size + -weight.size % 4
        np.testing.assert_array_equal(np.frombuffer(written, "<f4", bias.size, place), bias)
        place += 4 * bias.size
        scales = np.frombuffer(written, "<f4", len(weight) + 1, place)
        place += 4 * (len(weight) + 1)
        np.testing.assert_allclose(stored / scales[:-1].reshape(-1, *[1] * (weight.ndim - 1)), weight, rtol=1e-5)
        assert scales[-1] == pytest.approx(127 / product.largest)
    assert place == len(written)


def test_other_layers_than_those_of_the_file_are_refused(tmp_path: Path) -> None:
    found = without_qdq(write_int8(tmp_path))
    data = b"".join(bytes(4) + weight.astype("<f4").tobytes() for weight in float_weights(found.model).values())
    with pytest.raises(ConversionError, match="not those of the ONNX file"):
        _write_int8(LINES[:-1], data, found, tmp_path / "m.ncnn.param")
    with pytest.raises(ConversionError, match="not in the file"):
        _write_int8([*LINES], b"", found, tmp_path / "m.ncnn.param")
