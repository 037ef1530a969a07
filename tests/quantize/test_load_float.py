from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from compress.core.errors import ConversionError
from compress.core.stage import Candidate, Context
from compress.quantize.load_float import load_quantizable
from tests.export.tiny import SPEC


def test_the_float_file_is_indexed(network: nn.Module, context: Context, exported: Path) -> None:
    model = load_quantizable(exported, Candidate(SPEC, network), context)
    assert [node.name for node in model.graph] == [node.name for node in onnx.load(exported).graph.node]


def test_weights_that_are_not_finite_are_refused(network: nn.Module, context: Context, exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "wide.weight")
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "bad.onnx")
    with pytest.raises(ConversionError, match=r"1 of \d+ values of 'wide.weight' are not finite"):
        load_quantizable(tmp_path / "bad.onnx", Candidate(SPEC, network), context)


def test_a_float_file_that_is_not_of_the_torch_network_is_refused(
    network: nn.Module, context: Context, exported: Path, tmp_path: Path
) -> None:
    """An int8 file that agrees with a wrong float file would be reported to lose nothing."""
    model = onnx.load(exported)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "head.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.5), bias.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(ConversionError, match=r"differ from those of the torch network by up to .* for one sample alone"):
        load_quantizable(tmp_path / "wrong.onnx", Candidate(SPEC, network), context)


def test_an_opset_without_scales_by_channel_is_refused(
    network: nn.Module, context: Context, exported: Path, tmp_path: Path
) -> None:
    model = onnx.load(exported)
    model.opset_import[0].version = 12
    onnx.save(model, tmp_path / "old.onnx")
    with pytest.raises(ConversionError, match="opset 12, but quantization needs opset 13 or later"):
        load_quantizable(tmp_path / "old.onnx", Candidate(SPEC, network), context)
