from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import compress
from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError
from tests.backends.test_onnx_graph import W, small
from tests.export.tiny import SPEC


def test_metadata_round_trips(exported: Path) -> None:
    entries = onnx_files.read_metadata(exported)
    assert entries["classes"] == list(SPEC.classes)
    assert entries["mean"] == list(SPEC.mean)
    assert entries["std"] == list(SPEC.std)
    assert entries["shape"] == [3, 16, 12]
    assert entries["layout"] == "NCHW"
    assert entries["compress"] == compress.__version__
    assert onnx.load(exported).producer_name == "compress"


def test_metadata_is_json_for_readers_without_this_package(exported: Path) -> None:
    props = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert json.loads(props["classes"])[0] == "zéro"


def test_large_network_has_its_weights_in_a_second_file(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_onnx(network, SPEC, tmp_path / "small.onnx")
    monkeypatch.setattr(onnx_files, "MAX_PROTOBUF_BYTES", 1000)
    path = tmp_path / "model.onnx"
    export_onnx(network, SPEC, path)
    assert {file.name for file in tmp_path.iterdir()} == {"small.onnx", "model.onnx", "model.onnx.data"}
    assert path.stat().st_size < (tmp_path / "small.onnx").stat().st_size
    x = torch.randn(3, *SPEC.shape).numpy()
    expected = onnx_session.run(onnx_session.create_session(tmp_path / "small.onnx"), x)
    for source in (path, onnx_files.load(path), graphs.to_ir(onnx_files.load(path))):
        np.testing.assert_array_equal(onnx_session.run(onnx_session.create_session(source), x), expected)


@pytest.mark.parametrize(("value", "refused"), [(1.0, False), (np.nan, True), (-np.inf, True)])
def test_weights_that_are_not_finite_are_refused_by_name(value: float, refused: bool) -> None:
    model = small()
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.where(W == 5, np.float32(value), W), "w"))
    if not refused:
        onnx_files.check_finite(model)
        return
    with pytest.raises(ConversionError, match="1 of 12 values of 'w'"):
        onnx_files.check_finite(model)


def test_missing_file_of_weights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "MAX_PROTOBUF_BYTES", 1)
    monkeypatch.setattr(onnx_files, "EXTERNAL_BYTES", 1)
    onnx_files.save(small(), tmp_path / "model.onnx")
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(ConversionError, match="external data is missing"):
        onnx_files.load(tmp_path / "model.onnx")


def test_what_is_not_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no protocol buffer")
    with pytest.raises(ConversionError, match="not an ONNX file"):
        onnx_files.load(path)
    with pytest.raises(ConversionError, match="cannot read"):
        onnx_files.load(tmp_path / "absent.onnx")
    with pytest.raises(ConversionError, match="not an ONNX file"):
        onnx_files.read_metadata(path)


def test_large_invalid_network_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    model.graph.node[1].op_type = "NoSuchOperator"
    for limit in (onnx_files.MAX_PROTOBUF_BYTES, 1):
        monkeypatch.setattr(onnx_files, "MAX_PROTOBUF_BYTES", limit)
        with pytest.raises(ConversionError, match="NoSuchOperator"):
            onnx_files.check(model)
