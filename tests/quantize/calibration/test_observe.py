from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.quantize.calibration.observe import observe
from compress.quantize.qdq.placement import PLACEMENTS, activations_to_calibrate
from tests.export.tiny import Residual, split


@pytest.fixture(scope="module")
def model(exported: Path) -> onnx.ModelProto:
    return onnx_files.load(exported)


def test_observed_ranges_are_those_of_torch(model: onnx.ModelProto, network: Residual) -> None:
    x = split(64, 3).inputs
    histograms = observe(
        graphs.to_ir(model),
        ("input", *activations_to_calibrate(graphs.to_ir(model), tuple(PLACEMENTS))),
        [{"input": x[:40].numpy()}, {"input": x[40:].numpy()}],
    )
    assert (histograms["input"].low, histograms["input"].high) == (float(x.min()), float(x.max()))
    logits = network(x).detach()
    assert histograms["logits"].high == pytest.approx(float(logits.max()), rel=1e-4)
    assert all(variant.counts.sum() % len(x) == 0 and variant.counts.sum() > 0 for variant in histograms.values())


def test_activation_that_is_not_finite_is_named(model: onnx.ModelProto) -> None:
    x = split(8, 3).inputs.numpy()
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(ConversionError, match="'input' has 1 values that are not finite"):
        observe(graphs.to_ir(model), ("input",), [{"input": x}])


def test_no_batches_are_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ConversionError, match="no samples"):
        observe(graphs.to_ir(model), ("input",), [])
