"""Targets of data without labels are the outputs of the given file."""

from __future__ import annotations

from pathlib import Path

import torch

from compress.backends import onnx_session
from compress.backends.reference_targets import with_reference_targets
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
