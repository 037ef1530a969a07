"""Sizes of free axes, and the shape of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from compress.backends.sized_signature import is_batch_first, sample_shape, sized_signature
from compress.core.errors import ConversionError


def saved(folder: Path, **shapes: Sequence[int | str]) -> Path:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    onnx.save(helper.make_model(helper.make_graph([], "g", inputs, [])), folder / "m.onnx")
    return folder / "m.onnx"


def test_samples_of_inputs_that_are_not_batch_first_are_whole(tmp_path: Path) -> None:
    signature = sized_signature(saved(tmp_path, x=("n", "length"), state=(2, "n", 128), sr=(), one=(1, 5)))
    assert [is_batch_first(spec) for spec in signature.inputs] == [True, False, False, True]
    assert [sample_shape(spec, signature) for spec in signature.inputs] == [(512,), (2, 1, 128), (), (5,)]


def test_sizes_are_taken_guessed_for_images_and_unknown_axes_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, x=("n", 3, "height", "width"))
    signature = sized_signature(path, {"height": 64})
    assert signature.shape_of(signature.inputs[0]) == (1, 3, 64, 320)
    with pytest.raises(ConversionError, match="no free axis depth; its free axes are height, width"):
        sized_signature(path, {"depth": 3})
