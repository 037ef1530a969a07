"""Targets of data without labels are the outputs of the given file."""

from __future__ import annotations

from pathlib import Path

import torch

from compress.backends import onnx_session
from compress.backends.reference_targets import with_network_targets, with_reference_targets
from compress.data.interface import Data
from compress.tasks.outputs import Outputs
from tests.export.tiny import SPEC, split, trained


def test_targets_are_what_the_file_gives(tmp_path: Path) -> None:
    from compress.backends.export_onnx import export_onnx

    path = tmp_path / "m.onnx"
    export_onnx(trained(), SPEC, path)
    plain = Data(SPEC, split(12, 0), split(6, 1), split(6, 2))
    data = with_reference_targets(plain, path, Outputs())
    batch = next(iter(data.test.ordered(4)))
    expected = onnx_session.run(onnx_session.create_session(path), batch.input.numpy())
    torch.testing.assert_close(batch.targets["output_0"], torch.from_numpy(expected), rtol=1e-4, atol=1e-4)
    assert len(data.train) == 12
    assert data.test.fingerprint != plain.test.fingerprint
    assert [entry.size for entry in data.train.epoch(0, 8, 0)] == [8, 4]


def test_targets_are_what_the_network_gives_and_name_its_outputs() -> None:
    network = trained().eval()
    bare = SPEC.model_copy(update={"classes": (), "signature": SPEC.signature.model_copy(update={"outputs": ()})})
    plain = Data(bare, split(12, 0), split(6, 1), split(6, 2))
    data = with_network_targets(plain, network, Outputs(), "weights")
    batch = next(iter(data.test.ordered(4)))
    with torch.no_grad():
        torch.testing.assert_close(batch.targets["output_0"], network(batch.input))
    (output,) = data.spec.signature.outputs
    assert (output.name, output.shape) == ("output_0", ("batch", *batch.targets["output_0"].shape[1:]))
    assert data.test.fingerprint == f"{plain.test.fingerprint}+weights"
