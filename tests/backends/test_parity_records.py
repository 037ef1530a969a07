from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.backends import onnx_files, parity_records
from compress.backends.export_onnx import export_onnx
from compress.backends.exporter_parity import ParityError, parity_inputs
from compress.backends.parity_records import check_parity_once
from compress.core.stage import OnnxOptions
from tests.export.tiny import SPEC, split

INPUTS = parity_inputs(split(20, 1))
OPTIONS = OnnxOptions()


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were read to be compared."""
    files: list[Path] = []
    load = onnx_files.load
    monkeypatch.setattr(parity_records.onnx_files, "load", lambda path: files.append(path) or load(path))
    return files


def test_the_same_file_and_network_are_compared_once(
    network: nn.Module, exported: Path, tmp_path: Path, comparisons: list[Path]
) -> None:
    for module in (network, network, copy.deepcopy(network).train()):
        check_parity_once(exported, module, INPUTS, OPTIONS, tmp_path)
    assert comparisons == [exported]


def test_an_export_counts_as_compared(network: nn.Module, tmp_path: Path, comparisons: list[Path]) -> None:
    path, data = tmp_path / "model.onnx", split(20, 1)
    export_onnx(network, SPEC, path, split=data, cache=tmp_path)
    check_parity_once(path, network, parity_inputs(data), OPTIONS, tmp_path)
    assert comparisons == []
    check_parity_once(path, network, parity_inputs(split(20, 2)), OPTIONS, tmp_path)
    check_parity_once(path, network, parity_inputs(data), OnnxOptions(absolute=1e-5), tmp_path)
    assert comparisons == [path, path]


def test_another_network_or_file_is_compared_anew_and_a_failure_is_not_recorded(
    network: nn.Module, exported: Path, tmp_path: Path
) -> None:
    check_parity_once(exported, network, INPUTS, OPTIONS, tmp_path)
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.get_parameter("head.bias").add_(0.5)
    for _ in range(2):
        with pytest.raises(ParityError):
            check_parity_once(exported, other, INPUTS, OPTIONS, tmp_path)
    path = tmp_path / "other.onnx"
    export_onnx(other, SPEC, path)
    with pytest.raises(ParityError):
        check_parity_once(path, network, INPUTS, OPTIONS, tmp_path)


def test_nothing_is_recorded_where_the_hash_would_not_cover_everything(
    network: nn.Module, exported: Path, tmp_path: Path
) -> None:
    assert parity_records._record(exported, network, INPUTS, OPTIONS, tmp_path) is not None
    module = copy.deepcopy(network)
    module.source = (number for number in range(3))  # a generator may change what the network computes
    assert parity_records._record(exported, module, INPUTS, OPTIONS, tmp_path) is None
    path = tmp_path / "model.onnx"
    path.write_bytes(exported.read_bytes())
    path.with_name("model.onnx.data").write_bytes(b"weights")
    assert parity_records._record(path, network, INPUTS, OPTIONS, tmp_path) is None
