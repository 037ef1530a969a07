from __future__ import annotations

from pathlib import Path

import pytest

from compress.backends import onnx_files
from compress.config.devices import load_device
from compress.core.progress import NullReporter
from compress.core.record import Quantity
from compress.core.sentences import render
from compress.profile import fused_network
from compress.profile.fused_network import fuse_if_faster
from tests.quantize.encoder import SPEC, encoder_file


@pytest.mark.parametrize("is_faster", [True, False])
def test_the_fused_file_is_written_only_if_it_is_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_faster: bool
) -> None:
    source, target = encoder_file(), tmp_path / "target.onnx"
    timed = fused_network._speedups

    def measured(*arguments: object) -> dict[str, Quantity]:
        real = timed(*arguments) if is_faster else dict.fromkeys(("sequence 16", "sequence 48"))
        assert list(real) == ["sequence 16", "sequence 48"]
        interval = (1.1, 1.3) if is_faster else (0.7, 0.9)
        return {size: Quantity.measured(1.2, "1", "x", interval=interval, runs=9) for size in real}

    monkeypatch.setattr(fused_network, "_speedups", measured)
    written, (fact,) = fuse_if_faster(
        source, target, SPEC.signature, load_device("host"), seconds=0.01, reporter=NullReporter()
    )
    assert written is target.exists() is is_faster
    assert fact.code == ("profile.fused" if is_faster else "profile.fusion_not_faster")
    assert "2 attentions and 2 GELUs" in render(fact)
    if is_faster:
        assert "MultiHeadAttention" in {node.op_type for node in onnx_files.load(target).graph.node}
        assert onnx_files.read_metadata(target) == onnx_files.read_metadata(source)
