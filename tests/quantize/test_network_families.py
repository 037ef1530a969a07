"""Export → int8 → run for one member each of many torchvision families, with fresh weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import image_spec
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.quantize.calibration import observe as calibrate
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.placement import PLACEMENTS, activations_to_calibrate
from tests.models.families import FAMILIES, Family


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_family_goes_from_torch_to_int8(family: Family, tmp_path: Path) -> None:
    spec = image_spec(
        channels=3, height=family.size, width=family.size, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple("abcdefghij")
    )
    settings = ModelSettings(source=f"torchvision:{family.name}", args=family.args)
    network = build_model(settings, spec, seed=0, base=tmp_path).module
    for parameter in network.parameters():
        if not parameter.any():  # the vision transformer's head starts at zero, and so would all answers
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "model.onnx"
    notes = export_onnx(network, spec, path)
    model = onnx_files.load(path)
    x = torch.randn(16, *spec.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(x).numpy()
    runner = onnx_session.create_session(path)
    step = 1 if any(note.code == "backends.batch_fixed" for note in notes) else 8
    floats = np.concatenate([onnx_session.run(runner, x[start : start + step].numpy()) for start in range(0, 16, step)])
    np.testing.assert_allclose(floats, expected, atol=1e-3 * max(np.abs(expected).max(), 1e-3), rtol=1e-3)

    batches = [{"input": x[start : start + step].numpy()} for start in range(0, 16, step)]
    histograms = calibrate.observe(
        graphs.to_ir(model), activations_to_calibrate(graphs.to_ir(model), tuple(PLACEMENTS)), batches, counts=False
    )
    ranges = {name: (variant.low, variant.high) for name, variant in histograms.items()}
    for kind in PLACEMENTS:
        quantized = int8.quantize_static(graphs.to_ir(model), ranges, kind, int8.QDQOptions(reduce_range=kind == "onnxruntime"))
        onnx_files.write_metadata(quantized, spec)
        onnx_files.check(quantized)
        # Unfused, the operators compute what they define: this CPU's own kernels may saturate on another family's file.
        runner = onnx_session.create_session(quantized, optimised=kind == "onnxruntime")
        ints = np.concatenate([onnx_session.run(runner, batch) for batch in batches])
        assert np.isfinite(ints).all()
        assert len(quantized.SerializeToString()) < 0.35 * path.stat().st_size
        error = np.linalg.norm(ints - floats) / np.linalg.norm(floats)
        left = int8.float_layers(graphs.to_ir(quantized), kind, ())
        print(f"{family.name} {kind}: relative error {error:.3f}, {len(left)} left in float, notes {notes}")
        assert {skip.code for skip in left} <= {"quantize.float_activation_product"}
